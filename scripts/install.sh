# shellcheck shell=bash
# Installs missing packages from the distribution. It is sourced, never run.

# need_command COMMAND PACKAGE...: installs the packages if the command is missing.
need_command() {
    command -v "$1" >/dev/null || install_packages "${@:2}"
}

# as_root COMMAND...: runs it directly or with sudo, with the usual umask for system files.
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
    # A stale list names versions that the mirror no longer has; if offline, the install below reports it.
    apt_get update >"$log" 2>&1 || true
    apt_get install --yes --no-install-recommends -- "$@" >>"$log" 2>&1 ||
        fail_with_log "apt-get could not install $*." "$log"
}

# may_install PACKAGE...: if we cannot install, exits with instructions. Debian and Ubuntu only.
may_install() {
    command -v apt-get >/dev/null ||
        die "Missing: $*. Only Debian and Ubuntu are supported: install these, or set DATABASE_URL and AMQP_URL to your own servers."
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null ||
        die "Missing: $*. There is no sudo here: run 'apt-get install --no-install-recommends $*' as root and try again."
    # sudo may ask for its password, which must happen before the output goes to a file.
    sudo -v || die "Missing: $*. sudo refused to install them."
}

# NEEDRESTART_SUSPEND: installing for a demo is no reason to restart this machine's services.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

install_servers() {
    local packages=()
    [ -n "$(postgres_bin)" ] || packages+=(postgresql)
    [ -n "$(rabbitmq_version)" ] || packages+=(rabbitmq-server)
    install_stopped "${packages[@]}"
}

# The pooler that some tests put between the programs and PostgreSQL.
install_pooler() {
    local packages=()
    [ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
    install_stopped "${packages[@]}"
}

# promtool comes with the first of them, amtool with the second.
install_monitoring() {
    local packages=()
    command -v prometheus >/dev/null || packages+=(prometheus)
    command -v prometheus-alertmanager >/dev/null || packages+=(prometheus-alertmanager)
    install_stopped "${packages[@]}"
}

# Debian's packages match each other. On Ubuntu Chromium is a snap, which is not installed here: both must already be on
# the PATH.
install_browser() {
    local packages=()
    command -v chromium >/dev/null || packages+=(chromium)
    command -v chromedriver >/dev/null || packages+=(chromium-driver)
    [ "${#packages[@]}" = 0 ] || install_packages "${packages[@]}"
}

# install_stopped PACKAGE...: the packages would start servers, now and at every boot, which nobody requested. So a
# policy forbids the start, PostgreSQL creates no default cluster, and the units are disabled. Packages installed before
# are not touched. Runs in a subshell, so that the caller's traps stay.
install_stopped() (
    [ "$#" -gt 0 ] || return 0
    may_install "$@"
    trap unblock_starts EXIT
    # Also where the caller's || turns `set -e` off: without the policy the packages would start their servers.
    block_starts "$@" || exit
    install_packages "$@" || exit
    disable_units "$@"
)

POLICY=/usr/sbin/policy-rc.d
CLUSTER_CONF=/etc/postgresql-common/createcluster.d/orderflow-setup.conf
MARK='# Temporary, by the set-up of Orderflow: delete it if no such set-up is running.'

# The policy names only the packages being installed: other services still start and restart. An existing policy is the
# decision of the machine's owner (in containers it forbids all).
block_starts() {
    local package units=
    for package; do
        units+=${units:+|}$(units_of "$package")
    done
    if [ ! -e "$POLICY" ]; then
        policy "$units" | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi
    if [[ " $* " == *" postgresql "* ]]; then
        as_root mkdir -p "${CLUSTER_CONF%/*}"
        printf '%s\ncreate_main_cluster = false\n' "$MARK" | as_root tee "$CLUSTER_CONF" >/dev/null
    fi
}

# units_of PACKAGE: prints its units as shell patterns: by name, or with the suffix .service.
units_of() {
    case $1 in
    postgresql) echo 'postgresql*' ;;
    rabbitmq-server) echo 'rabbitmq-server*|epmd*' ;;
    docker.io) echo 'docker|docker.*|containerd|containerd.*' ;;
    *) echo "$1|$1.*" ;;
    esac
}

# policy PATTERNS: prints the program that dpkg runs before a start. The first argument that is not an option is the
# unit's name.
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

# update-rc.d works for both kinds of init, running or not. Erlang's port mapper, which comes with RabbitMQ, and
# containerd have only systemd units. Docker's service has another name than its package.
disable_units() {
    local package units=()
    for package; do
        as_root update-rc.d "${package%.io}" disable || true
    done >>"$DEV/log/apt.log" 2>&1
    case " $* " in
    *' rabbitmq-server '*) units+=(epmd.service epmd.socket) ;;&
    *' docker.io '*) units+=(docker.socket containerd.service) ;;
    esac
    if [ "${#units[@]}" != 0 ] && command -v systemctl >/dev/null; then
        as_root systemctl disable "${units[@]}" >>"$DEV/log/apt.log" 2>&1 || true
    fi
}
