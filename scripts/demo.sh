#!/usr/bin/env bash
# Demonstrates the whole flow: follows orders placed over HTTP to the end, on real services.
# Runs until Ctrl-C; with ONCE=1 it ends automatically, and its last line says how the orders ended.
# MONITORING=1 adds Prometheus and Alertmanager; MAIL_VIEW=1 adds a mail viewer; LAB=1 adds a page that kills workers and
# RabbitMQ and starts them again.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/node_tools.sh
. "$HERE/node_tools.sh"
# shellcheck source=scripts/services/monitoring.sh
. "$HERE/services/monitoring.sh"
# shellcheck source=scripts/services/maildev.sh
. "$HERE/services/maildev.sh"
# shellcheck source=scripts/services/lab.sh
. "$HERE/services/lab.sh"

DEMO=$DEV/demo
# Each is a separate process, with its own PostgreSQL role and RabbitMQ user.
PROCESSES=(shop console "${SERVICES[@]}")

only_one_demo() {
    mkdir -p "$DEMO"
    exec 7>"$DEMO/lock"
    flock -n 7 || die "A demo is already running in this directory: end it with Ctrl-C there."
}

build() {
    say "building (the first build takes some minutes)"
    (cd "$ROOT" && cargo build --package orderflow --package orderflow-worker --bins) 7>&- 8>&- ||
        die "The build failed; its output is above."
    BIN=$(target_dir)/debug
}

set_up() {
    say "setting up the database and the broker"
    "$BIN/orderflow" migrate 7>&- 8>&- || die "orderflow migrate failed; its output is above."
    "$BIN/orderflow" topology apply 7>&- 8>&- || die "orderflow topology apply failed; its output is above."
    # On a database of your own, the owner may not be allowed to create roles.
    [ -z "${DATABASE_WEB_PASSWORD:-}" ] || "$BIN/orderflow" rights apply 7>&- 8>&- ||
        die "orderflow rights apply failed; its output is above."
}

# Uses the usual ports where they are free, else the next ones.
choose_settings() {
    local name next=8080
    # The address of each process; shop-metrics is the shop's second address.
    declare -gA ADDRESS
    for name in shop shop-metrics console "${SERVICES[@]}"; do
        next=$(free_port "$next")
        ADDRESS[$name]=127.0.0.1:$next
        next=$((next + 1))
    done
    # The token for this demo's console, valid as long as the demo runs.
    CONSOLE_TOKEN=$(random_hex 16)
    export PUBLIC_URL=http://${ADDRESS[shop]} MAIL=file:$DEMO/mail
    # A demo needs no rate limits.
    export RATE_LIMIT=0 MAIL_LIMIT=0
    rm -rf "$DEMO/mail"
    mkdir -p "$DEMO/mail"
    # .dev/env has the secrets of set-up: owner, administrator, all passwords. Each process gets only its own.
    mapfile -t SECRETS < <(sed -n 's/^\([A-Z0-9_]*\)=.*/\1/p' "$DEV/env")
}

# login URL NAME PASSWORD: prints the URL with this name and password; without a password, on your own servers,
# unchanged.
login() {
    if [ -n "$1" ] && [ -n "$3" ]; then
        printf '%s://%s:%s@%s' "${1%%://*}" "$2" "$3" "${1##*@}"
    else
        printf '%s' "$1"
    fi
}

# database NAME, broker URL NAME: print the URLs of PostgreSQL and RabbitMQ with the role and the user of NAME.
database() {
    local password
    password=DATABASE_$(setting_name "$1")_PASSWORD
    login "$DATABASE_URL" "${DATABASE_ROLE_PREFIX:-orderflow}_${1//-/_}" "${!password:-}"
}
broker() {
    local password
    password=AMQP_$(setting_name "$2")_PASSWORD
    login "$1" "orderflow-$2" "${!password:-}"
}

# spawn NAME COMMAND...: starts it in a separate session, so that Ctrl-C reaches only this script and the programs are
# stopped in order.
spawn() {
    env "$INSTANCE_MARK" setsid "${@:2}" >"$DEMO/$1.log" 2>&1 </dev/null 7>&- 8>&- &
    local pid=$! tries
    # The shell must not report a process that the lab kills.
    disown "$pid"
    echo "$pid" >"$DEMO/$1.pid"
    # For a moment it is a copy of this shell, without our mark: see is_own.
    for ((tries = 0; tries < 500; tries++)); do
        if is_own "$pid" || ! kill -0 "$pid" 2>/dev/null; then return; fi
        sleep 0.01
    done
}

# spawn_with NAME SETTING... -- COMMAND...: starts our program with these settings and no other secrets.
spawn_with() {
    local name=$1 forget=() given=()
    mapfile -t forget < <(printf -- '-u\n%s\n' "${SECRETS[@]}")
    shift
    while [ "$1" != -- ]; do
        given+=("$1")
        shift
    done
    spawn "$name" env "${forget[@]}" "${given[@]}" "${@:2}"
}

spawn_shop() {
    spawn_with shop "DATABASE_URL=$(database web)" "AMQP_URL=$(broker "$AMQP_URL" web)" "TOKEN_SECRET=$TOKEN_SECRET" \
        "LISTEN=${ADDRESS[shop]}" "OPS_LISTEN=${ADDRESS[shop-metrics]}" -- "$BIN/orderflow" serve shop
}

spawn_console() {
    local hash
    hash=$(printf %s "$CONSOLE_TOKEN" | sha256sum | cut -d ' ' -f 1)
    spawn_with console "DATABASE_URL=$(database ops)" "AMQP_ADMIN_URL=$(broker "${AMQP_ADMIN_URL:-}" ops)" \
        "RABBITMQ_MANAGEMENT_URL=${RABBITMQ_MANAGEMENT_URL:-}" "TOKEN_SECRET=$TOKEN_SECRET" \
        "OPERATOR_TOKENS=demo:operate:$hash" "OPS_LISTEN=${ADDRESS[console]}" -- "$BIN/orderflow" serve console
}

# spawn_worker SERVICE: with TOKEN_SECRET only if the service signs links to orders.
spawn_worker() {
    local own=("DATABASE_URL=$(database "$1")" "AMQP_URL=$(broker "$AMQP_URL" "$1")" "WORKER_LISTEN=${ADDRESS[$1]}")
    [[ " ${SIGNERS[*]} " != *" $1 "* ]] || own+=("TOKEN_SECRET=$TOKEN_SECRET")
    spawn_with "$1" "${own[@]}" -- "$BIN/orderflow-worker" --queue "$1.*"
}

# Whether $PROCESS runs, and whether it is ready.
runs() { kill -0 "$(cat "$DEMO/$PROCESS.pid")" 2>/dev/null; }
ready() { [ "$(http_status "${ADDRESS[$PROCESS]##*:}" /readyz)" = 200 ]; }

start_programs() {
    local service
    spawn_shop
    spawn_console
    for service in "${SERVICES[@]}"; do spawn_worker "$service"; done
    for PROCESS in "${PROCESSES[@]}"; do
        printf '%s: starting on %s ' "$PROCESS" "${ADDRESS[$PROCESS]}"
        wait_until 60 runs ready ||
            fail_with_log "The process $PROCESS ended while it started, or was not ready within 60 s." "$DEMO/$PROCESS.log"
    done
}

# Also stops what a killed demo left running. The lab stops first, so that it starts nothing again, then monitoring, so
# that it does not alert about the rest, and the mail server last.
stop_programs() {
    stop_together lab
    stop_together prometheus alertmanager
    stop_together "${PROCESSES[@]}"
    stop_together maildev
}

stop_together() {
    local name pid pids=()
    for name in "$@"; do
        stop_program "$name" 7>&- 8>&- &
        pids+=($!)
    done
    # Wait only for these: the programs are children too.
    for pid in "${pids[@]}"; do wait "$pid" || true; done
}

stop_program() {
    if own_pid "$DEMO/$1.pid" >/dev/null; then
        say "stopping $1"
    fi
    stop_own "$DEMO/$1.pid" 40 || kill_program "$1"
}

kill_program() {
    say "$1 did not stop within 40 s and is killed; its log is $DEMO/$1.log"
    kill -KILL "$(cat "$DEMO/$1.pid")" || true
}

place_orders() {
    rm -f "$DEMO/summary"
    python3 "$HERE/demo_orders.py" "$PUBLIC_URL" "$DEMO/summary" 7>&- 8>&- && return
    say "An order did not end as expected. The processes' logs may say why: $DEMO/*.log"
    # Only the processes' logs: other logs may be from an earlier demo.
    for PROCESS in "${PROCESSES[@]}"; do
        grep -H -E 'WARN|ERROR' "$DEMO/$PROCESS.log" | tail -n 5 >&2 || true
    done
    die "For an order's history run: orderflow why NUMBER, with the settings of $DEV/env"
}

print_links() {
    cat <<LINKS

shop          $PUBLIC_URL/
console       http://${ADDRESS[console]}/ops
              token $CONSOLE_TOKEN
RabbitMQ      ${RABBITMQ_MANAGEMENT_URL:-unknown, because AMQP_URL was given without RABBITMQ_MANAGEMENT_URL}
              user orderflow-inspector, password ${AMQP_INSPECTOR_PASSWORD:-unknown}
              may read ….dlq and orders.unrouted; Get messages requeues what it
              takes; other Ack Modes may delete it
mail          $(mail_link)
metrics       /metrics at each of these addresses$(metrics_addresses)
logs          $DEMO/{$(IFS=, && printf '%s' "${PROCESSES[*]}")}.log
LINKS
    if on "${MONITORING:-}"; then
        monitoring_links
    fi
    if on "${LAB:-}"; then
        lab_link
    fi
    printf '\n'
}

metrics_addresses() {
    local name
    for name in shop-metrics console "${SERVICES[@]}"; do
        printf '\n              http://%-15s %s' "${ADDRESS[$name]}" "${name%-metrics}"
    done
}

mail_link() {
    if on "${MAIL_VIEW:-}"; then
        maildev_link
    else
        printf '%s' "$DEMO/mail ($(find "$DEMO/mail" -type f | wc -l) files so far)"
    fi
}

stay() {
    local watched=("${PROCESSES[@]}")
    # With the lab a worker may end: its page shows that and starts the worker again.
    if on "${LAB:-}"; then
        watched=(shop console lab)
    fi
    say "Ctrl-C ends the demo and stops everything that it started."
    while true; do
        for PROCESS in "${watched[@]}"; do
            runs || fail_with_log "The process $PROCESS stopped unexpectedly." "$DEMO/$PROCESS.log"
        done
        sleep 1 7>&- 8>&-
    done
}

# on VALUE: whether a switch such as ONCE is on.
on() { [ -n "$1" ] && [ "$1" != 0 ]; }

# A second Ctrl-C during the shutdown must not leave programs running.
clean_up() {
    trap '' INT TERM HUP
    trap - EXIT
    stop_programs
    release_services
}

on_signal() {
    local status=$1
    printf '\n'
    clean_up
    exit "$status"
}

need_cargo
only_one_demo
trap clean_up EXIT
# Ctrl-C is a success only once the demo is up; before that it aborts the start.
trap 'on_signal 130' INT
trap 'on_signal 143' TERM HUP

need_command cc gcc libc6-dev
need_command python3 python3
stop_programs
# The servers that this starts must not inherit a lock's descriptor.
use_services 7>&-
build
set_up
choose_settings
if on "${MAIL_VIEW:-}"; then
    maildev_start
fi
start_programs
if on "${MONITORING:-}"; then
    monitoring_start
fi
if on "${LAB:-}"; then
    lab_start
fi
place_orders
print_links
if ! on "${ONCE:-}"; then
    trap 'on_signal 0' INT
    stay
fi
clean_up
cat "$DEMO/summary"
