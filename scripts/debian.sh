# shellcheck shell=bash
# Other releases of Debian below .dev/, for their RabbitMQ, PostgreSQL and PgBouncer. Sourced, never run.
#
#   RABBITMQ=4      RabbitMQ 4.0, of Debian 13 (trixie)    POSTGRES=17
#   RABBITMQ=4.3    RabbitMQ 4.3, of Debian sid            POSTGRES=18
#
# Not set, both are this machine's; 3.10 and 15 say that these have to be Debian 12's.

# debian_with_rabbitmq: the release to take it from; nothing where that is this machine.
debian_with_rabbitmq() {
    case ${RABBITMQ:-} in
    '') ;;
    3.10) need_version_here RABBITMQ "$(ls /usr/lib/rabbitmq/lib 2>/dev/null || true)" 'rabbitmq_server-3\.10\.' ;;
    4 | 4.0) echo trixie ;;
    4.3) echo sid ;;
    *) die "RABBITMQ is 3.10, 4 or 4.3, or not set." ;;
    esac
}

# debian_with_postgres: the same.
debian_with_postgres() {
    case ${POSTGRES:-} in
    '') ;;
    15) need_version_here POSTGRES "$(ls /usr/lib/postgresql 2>/dev/null || true)" '^15$' ;;
    17) echo trixie ;;
    18) echo sid ;;
    *) die "POSTGRES is 15, 17 or 18, or not set." ;;
    esac
}

# need_version_here VARIABLE INSTALLED PATTERN. What is not installed yet is installed from this machine's release.
need_version_here() {
    [ -z "$2" ] || grep -q "$3" <<<"$2" ||
        die "$1=${!1} is this machine's where that is Debian 12, but here is: ${2//$'\n'/ }."
}

debian_root() { printf '%s/.dev/debian-%s\n' "$ROOT" "$1"; }

# need_debian RELEASE: makes it where it is missing, and says its versions. Some 600 megabytes; only root may.
need_debian() {
    local tree
    [ -n "$1" ] || return 0
    tree=$(debian_root "$1")
    [ -s "$tree/.complete" ] || make_debian "$1" "$tree"
    say "Debian $1: $(cat "$tree/.complete")"
}

# make_debian RELEASE TREE. Sid moves: its index may be newer than its packages, or older than it says it may be.
make_debian() {
    local release=$1 tree=$2 postgres=17 log=$ROOT/.dev/log/debian-$1.log rabbitmq
    local sorry="Debian $release could not be installed."
    if [ "$release" = sid ]; then
        postgres=18
        sorry="Debian sid could not be installed: it moves, and its index may be out of date, so try again tomorrow. Only RABBITMQ=4.3 and POSTGRES=18 need it."
    fi
    [ "$(id -u)" = 0 ] || die "Debian $release needs root, which alone can make a system in a directory and run programs in it."
    need_command debootstrap debootstrap
    # Where the keys of Debian's releases are not the machine's own.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install_packages debian-archive-keyring
    mkdir -p "${log%/*}"
    rm -rf --one-file-system "$tree"
    say "installing Debian $release with its RabbitMQ, PostgreSQL and PgBouncer into $tree (the log is $log)"
    # Others than root run PostgreSQL in it, and what is made in it has to be as in any system.
    (umask 022 && install_debian "$release" "$tree" rabbitmq-server "postgresql-$postgres" pgbouncer) >"$log" 2>&1 || fail_with_log "$sorry" "$log"
    rabbitmq=$(version_in "$tree" rabbitmq-server)
    [ "$release" != sid ] || [ "${rabbitmq#4.3.}" != "$rabbitmq" ] ||
        die "Debian sid no longer has RabbitMQ 4.3 but $rabbitmq: what docs/INSTALLING.md promises and scripts/debian.sh have to follow."
    printf 'RabbitMQ %s, PostgreSQL %s\n' "$rabbitmq" "$(version_in "$tree" "postgresql-$postgres")" >"$tree/.complete"
}

# version_in TREE PACKAGE
version_in() {
    # shellcheck disable=SC2016 # dpkg expands it.
    chroot "$1" dpkg-query --show --showformat='${Version}' "$2"
}

# install_debian RELEASE TREE PACKAGE... By apt inside, since debootstrap alone cannot choose between versions of a dependency.
install_debian() {
    local release=$1 tree=$2
    shift 2
    debootstrap --variant=minbase "$release" "$tree" || return
    echo '127.0.0.1 localhost' >"$tree/etc/hosts"
    # Nothing that is installed starts servers.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    mkdir -p "$tree/etc/postgresql-common/createcluster.d"
    echo 'create_main_cluster = false' >"$tree/etc/postgresql-common/createcluster.d/orderflow.conf"
    # An index past its date is signed just the same, and for trying a version it will do.
    apt_in "$tree" -o Acquire::Check-Valid-Until=false update || return
    apt_in "$tree" --yes --no-install-recommends install "$@"
}

apt_in() {
    "$ROOT/scripts/in-debian.sh" "$1" "$ROOT/.dev/log" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq "${@:2}"
}
