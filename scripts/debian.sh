# shellcheck shell=bash
# Other releases of Debian below .dev/, for their RabbitMQ, PostgreSQL and PgBouncer. Sourced, never run.
#
#   RABBITMQ=4      RabbitMQ 4.0, of Debian 13 (trixie)    POSTGRES=17
#   RABBITMQ=4.3    RabbitMQ 4.3, of Debian sid            POSTGRES=18
#
# If unset, this machine's are used; 3.10 and 15 require these to be Debian 12's.

# debian_with_rabbitmq: prints the release to use; nothing for this machine.
debian_with_rabbitmq() {
    case ${RABBITMQ:-} in
    '') ;;
    3.10) need_version_here RABBITMQ "$(ls /usr/lib/rabbitmq/lib 2>/dev/null || true)" 'rabbitmq_server-3\.10\.' ;;
    4 | 4.0) echo trixie ;;
    4.3) echo sid ;;
    *) die "RABBITMQ must be 3.10, 4 or 4.3, or unset." ;;
    esac
}

# debian_with_postgres: the same for PostgreSQL.
debian_with_postgres() {
    case ${POSTGRES:-} in
    '') ;;
    15) need_version_here POSTGRES "$(ls /usr/lib/postgresql 2>/dev/null || true)" '^15$' ;;
    17) echo trixie ;;
    18) echo sid ;;
    *) die "POSTGRES must be 15, 17 or 18, or unset." ;;
    esac
}

# need_version_here VARIABLE INSTALLED PATTERN. A missing package will be installed from this machine's release.
need_version_here() {
    [ -z "$2" ] || grep -q "$3" <<<"$2" ||
        die "$1=${!1} needs this machine to be Debian 12, but it has: ${2//$'\n'/ }."
}

debian_root() { printf '%s/.dev/debian-%s\n' "$ROOT" "$1"; }

# need_debian RELEASE: installs it if missing, and prints its versions. About 600 megabytes; only root may.
need_debian() {
    local tree
    [ -n "$1" ] || return 0
    tree=$(debian_root "$1")
    [ -s "$tree/.complete" ] || make_debian "$1" "$tree"
    say "Debian $1: $(cat "$tree/.complete")"
}

# make_debian RELEASE TREE. Sid changes: its index may be newer than its packages, or past its expiry date.
make_debian() {
    local release=$1 tree=$2 postgres=17 log=$ROOT/.dev/log/debian-$1.log rabbitmq
    local sorry="Debian $release could not be installed."
    if [ "$release" = sid ]; then
        postgres=18
        sorry="Debian sid could not be installed: it changes daily, and its index may be out of date, so try again tomorrow. Only RABBITMQ=4.3 and POSTGRES=18 need it."
    fi
    [ "$(id -u)" = 0 ] || die "Debian $release needs root: only root can install a system into a directory and run programs in it."
    need_command debootstrap debootstrap
    # On machines without the keys of Debian's releases.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install_packages debian-archive-keyring
    mkdir -p "${log%/*}"
    rm -rf --one-file-system "$tree"
    say "installing Debian $release with its RabbitMQ, PostgreSQL and PgBouncer into $tree (the log is $log)"
    # Non-root users run PostgreSQL in it, so its files need the usual permissions.
    (umask 022 && install_debian "$release" "$tree" rabbitmq-server "postgresql-$postgres" pgbouncer) >"$log" 2>&1 || fail_with_log "$sorry" "$log"
    rabbitmq=$(version_in "$tree" rabbitmq-server)
    [ "$release" != sid ] || [ "${rabbitmq#4.3.}" != "$rabbitmq" ] ||
        die "Debian sid no longer has RabbitMQ 4.3 but $rabbitmq: update docs/INSTALLING.md and scripts/debian.sh."
    printf 'RabbitMQ %s, PostgreSQL %s\n' "$rabbitmq" "$(version_in "$tree" "postgresql-$postgres")" >"$tree/.complete"
}

# version_in TREE PACKAGE
version_in() {
    # shellcheck disable=SC2016 # dpkg expands it.
    chroot "$1" dpkg-query --show --showformat='${Version}' "$2"
}

# install_debian RELEASE TREE PACKAGE... Uses apt inside, since debootstrap cannot choose between versions of a
# dependency.
install_debian() {
    local release=$1 tree=$2
    shift 2
    debootstrap --variant=minbase "$release" "$tree" || return
    echo '127.0.0.1 localhost' >"$tree/etc/hosts"
    # Prevents packages from starting servers.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    mkdir -p "$tree/etc/postgresql-common/createcluster.d"
    echo 'create_main_cluster = false' >"$tree/etc/postgresql-common/createcluster.d/orderflow.conf"
    # An expired index is still signed, and good enough for testing a version.
    apt_in "$tree" -o Acquire::Check-Valid-Until=false update || return
    apt_in "$tree" --yes --no-install-recommends install "$@"
}

apt_in() {
    "$ROOT/scripts/in-debian.sh" "$1" "$ROOT/.dev/log" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq "${@:2}"
}
