#!/usr/bin/env bash
# The private PostgreSQL and RabbitMQ of this checkout, below .dev/.
#
#   services.sh up                 installs what is missing, starts what does not run, writes .dev/env
#   services.sh down               stops only what `up` started
#   services.sh install            only installs what is missing, for scripts that start their own servers
#   services.sh install monitoring the same for Prometheus and Alertmanager
#
# Ports, passwords and data survive a restart; to start from scratch: down, then delete .dev.
# RABBITMQ=4.3 and POSTGRES=18 (or 4, 17) use servers of another Debian, with separate state: see debian.sh.
# `up --for-run` is for scripts that share the services: see use_services in lib.sh.
set -euo pipefail
# Everything below .dev holds secrets or data.
umask 077

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/debian.sh
. "$HERE/debian.sh"
use_versions
# shellcheck source=scripts/services/settings.sh
. "$HERE/services/settings.sh"
# shellcheck source=scripts/services/postgres.sh
. "$HERE/services/postgres.sh"
# shellcheck source=scripts/services/rabbitmq.sh
. "$HERE/services/rabbitmq.sh"

usage() {
    say "usage: scripts/services.sh up|down|install [monitoring]" >&2
    exit 2
}

# Two concurrent runs would both find nothing running and both start it.
lock() {
    exec 9>"$DEV/lock"
    flock -n 9 && return
    say "waiting for another run of services.sh in this directory"
    flock -w 300 9 || die "Another run of services.sh still holds $DEV/lock after 300 s."
}

# A copy of a checkout has a copy of .dev, with the pids and ports of the original: using those would stop the
# original's services.
open_dev() {
    mkdir -p "$DEV"
    [ -O "$DEV" ] || die "$DEV belongs to another user: run this as that user, or delete it."
    # Others may enter, because root's PostgreSQL runs as another user; the files stay private.
    chmod 711 "$ROOT/.dev" "$DEV"
    mkdir -p "$STATE" "$DEV/log"
    lock
    [ "$(remembered directory printf '%s' "$ROOT")" = "$ROOT" ] ||
        die "$DEV was made in $(cat "$STATE/directory"): delete it here and try again (if that directory was renamed to this one, stop its services first)."
}

up() {
    local for_run=${1:-} ran=no
    open_dev
    if postgres_runs || rabbitmq_runs; then ran=yes; fi
    # Before anything starts: an interrupted run stops whatever has started by then.
    mark_owner "$for_run" "$ran"
    if ! own_database || ! own_broker; then
        need_debian "$RABBITMQ_IN"
        [ "$POSTGRES_IN" = "$RABBITMQ_IN" ] || need_debian "$POSTGRES_IN"
        install_servers
    fi
    postgres_up
    rabbitmq_up
    write_env
}

# Records who started the services, and so who stops them: see release_services in lib.sh.
mark_owner() {
    local mark=$STATE/started-by-a-run
    if [ -z "$1" ]; then
        rm -f "$mark"
    elif [ "$2" = no ]; then
        : >"$mark"
    fi
}

down() {
    [ -d "$STATE" ] || return 0
    open_dev
    rabbitmq_down
    postgres_down
    rm -f "$STATE/started-by-a-run"
}

case "${1:-} ${2:-}" in
'up ' | 'up --for-run') up "${2:-}" ;;
'down ') down ;;
'install ') install_servers ;;
'install monitoring') install_monitoring ;;
*) usage ;;
esac
