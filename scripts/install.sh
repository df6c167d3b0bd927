# shellcheck shell=bash
# Installs what is missing from the distribution. It is sourced, never run.

# need_command COMMAND PACKAGE...: installs the packages where the command is missing.
need_command() {
    command -v "$1" >/dev/null || install_packages "${@:2}"
}

# as_root COMMAND...: directly or with sudo. The usual umask, because what is made is the machine's.
as_root() (
    umask 022
    if [ "$(id -u)" = 0 ]; then
        exec "$@"
    fi
    exec sudo -- "$@"
)

# install_packages PACKAGE...
install_packages() {
    local log=$DEV/log/apt.log
    may_install "$@"
    mkdir -p "$DEV/log"
    say "installing $* (the log is $log)"
    # A stale list names versions that the mirror no longer has; being offline is told by the install.
    apt_get update >"$log" 2>&1 || true
    apt_get install --yes --no-install-recommends -- "$@" >>"$log" 2>&1 ||
        fail_with_log "apt-get could not install $*." "$log"
}

# may_install PACKAGE...: ends with what to do where we cannot. Debian and Ubuntu only.
may_install() {
    command -v apt-get >/dev/null ||
        die "Missing: $*. Only Debian and Ubuntu are installed to: install these, or set DATABASE_URL and AMQP_URL to servers of yours."
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null ||
        die "Missing: $*. There is no sudo here: run 'apt-get install --no-install-recommends $*' as root and try again."
    # sudo may ask for its password, which has to happen before the output goes to a file.
    sudo -v || die "Missing: $*. sudo refused to install them."
}

# NEEDRESTART_SUSPEND: installing for a demo is no reason to restart this machine's services.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

# The packages would start a PostgreSQL and a RabbitMQ of their own, now and at every boot. Where
# we are the ones who install them nobody asked for that, so a policy forbids the start, no
# default cluster is created, and the units are disabled. What was installed before is left alone.
install_servers() {
    local packages=()
    [ -n "$(postgres_bin)" ] || packages+=(postgresql)
    [ -n "$(rabbitmq_version)" ] || packages+=(rabbitmq-server)
    [ "${#packages[@]}" -gt 0 ] || return 0

    may_install "${packages[@]}"
    trap unblock_starts EXIT
    block_starts "${packages[@]}"
    install_packages "${packages[@]}"
    disable_units "${packages[@]}"
    unblock_starts
    trap - EXIT
}

POLICY=/usr/sbin/policy-rc.d
CLUSTER_CONF=/etc/postgresql-common/createcluster.d/orderflow-setup.conf
MARK='# Temporary, by the set-up of Orderflow: delete it if no such set-up is running.'

# The policy names only what is being installed: other services keep their starts and restarts. One
# that is there already is the decision of the machine's owner (in containers it forbids all).
block_starts() {
    local units
    units=$(printf '%s\n' "$@" | sed 's/^postgresql$/postgresql*/; s/^rabbitmq-server$/rabbitmq-server*|epmd*/' | paste -sd '|')
    if [ ! -e "$POLICY" ]; then
        policy "$units" | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi
    if [[ " $* " == *" postgresql "* ]]; then
        as_root mkdir -p "${CLUSTER_CONF%/*}"
        printf '%s\ncreate_main_cluster = false\n' "$MARK" | as_root tee "$CLUSTER_CONF" >/dev/null
    fi
}

# policy PATTERNS: the program that dpkg asks before a start. Its first argument that is no option
# is the unit's name.
policy() {
    cat <<POLICY
#!/bin/sh
$MARK
for word; do
    case \$word in
    --*) ;;
    $1) exit 101 ;;
    *) exit 0 ;;
    esac
done
POLICY
}

unblock_starts() {
    local file
    for file in "$POLICY" "$CLUSTER_CONF"; do
        if grep -qsxF "$MARK" "$file"; then
            as_root rm -f "$file"
        fi
    done
}

# update-rc.d does it for both kinds of init, running or not. Erlang's port mapper, which comes with
# RabbitMQ, has units of systemd only.
disable_units() {
    local package
    for package; do
        as_root update-rc.d "$package" disable || true
    done >>"$DEV/log/apt.log" 2>&1
    if [[ " $* " == *" rabbitmq-server "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl disable epmd.service epmd.socket >>"$DEV/log/apt.log" 2>&1 || true
    fi
}
