#!/usr/bin/env bash
# Shows the whole job: orders placed over HTTP go all the way, on real services.
# It stays until Ctrl-C; with ONCE=1 it ends by itself, its last line says how the orders ended.
# With MONITORING=1 Prometheus and Alertmanager look on; with MAIL_VIEW=1 the mails are read in a mail program.
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

DEMO=$DEV/demo
# In the order in which they are stopped: who looks on goes first, or it would tell of what we stop.
PROGRAMS=(prometheus alertmanager serve worker maildev)

only_one_demo() {
    mkdir -p "$DEMO"
    exec 7>"$DEMO/lock"
    flock -n 7 || die "A demo is already running in this directory: end it with Ctrl-C there."
}

build() {
    say "building (the first time takes some minutes)"
    (cd "$ROOT" && cargo build --package orderflow --package orderflow-worker --bins) 7>&- 8>&- ||
        die "The build failed; what it said is above."
    BIN=$(target_dir)/debug
}

set_up() {
    say "setting up the database and the broker"
    "$BIN/orderflow" migrate 7>&- 8>&- || die "orderflow migrate failed; what it said is above."
    "$BIN/orderflow" topology apply 7>&- 8>&- || die "orderflow topology apply failed; what it said is above."
}

# The usual ports where they are free, else the next ones.
choose_settings() {
    SERVE_PORT=$(free_port 8080)
    WORKER_PORT=$(free_port $((SERVE_PORT + 1)))
    OPS_PORT=$(free_port $((WORKER_PORT + 1)))
    export LISTEN=127.0.0.1:$SERVE_PORT WORKER_LISTEN=127.0.0.1:$WORKER_PORT OPS_LISTEN=127.0.0.1:$OPS_PORT
    # For whoever opens the console of this demo, and no longer than it lasts.
    CONSOLE_TOKEN=$(random_hex 16)
    export OPERATOR_TOKENS
    OPERATOR_TOKENS=demo:operate:$(printf %s "$CONSOLE_TOKEN" | sha256sum | cut -d ' ' -f 1)
    export PUBLIC_URL=http://127.0.0.1:$SERVE_PORT MAIL=file:$DEMO/mail
    # A demo has no strangers.
    export RATE_LIMIT=0 MAIL_LIMIT=0
    rm -rf "$DEMO/mail"
    mkdir -p "$DEMO/mail"
}

# spawn NAME COMMAND...: in a session of its own, so that Ctrl-C reaches this script alone and the
# programs are stopped in order.
spawn() {
    env "$INSTANCE_MARK" setsid "${@:2}" >"$DEMO/$1.log" 2>&1 </dev/null 7>&- 8>&- &
    local pid=$! tries
    echo "$pid" >"$DEMO/$1.pid"
    # A moment long it is a copy of this shell, which nobody can tell to be ours: see is_own.
    for ((tries = 0; tries < 500; tries++)); do
        if is_own "$pid" || ! kill -0 "$pid" 2>/dev/null; then return; fi
        sleep 0.01
    done
}

serve_runs() { kill -0 "$(cat "$DEMO/serve.pid")" 2>/dev/null; }
worker_runs() { kill -0 "$(cat "$DEMO/worker.pid")" 2>/dev/null; }
serve_ready() { [ "$(http_status "$SERVE_PORT" /readyz)" = 200 ]; }
worker_ready() { [ "$(http_status "$WORKER_PORT" /readyz)" = 200 ]; }

start_programs() {
    spawn serve "$BIN/orderflow" serve
    spawn worker "$BIN/orderflow-worker"
    printf 'front end: starting on %s ' "$LISTEN"
    wait_until 60 serve_runs serve_ready ||
        fail_with_log "The front end ended while it started, or was not ready within 60 s." "$DEMO/serve.log"
    printf 'worker: starting on %s ' "$WORKER_LISTEN"
    wait_until 60 worker_runs worker_ready ||
        fail_with_log "The worker ended while it started, or was not ready within 60 s." "$DEMO/worker.log"
}

# Also what an earlier demo left running because it was killed.
stop_programs() {
    local name
    for name in "${PROGRAMS[@]}"; do
        if own_pid "$DEMO/$name.pid" >/dev/null; then
            say "stopping $name"
        fi
        stop_own "$DEMO/$name.pid" 40 || kill_program "$name"
    done
}

kill_program() {
    say "$1 did not stop within 40 s and is killed; its log is $DEMO/$1.log"
    kill -KILL "$(cat "$DEMO/$1.pid")" || true
}

place_orders() {
    rm -f "$DEMO/summary"
    python3 "$HERE/demo_orders.py" "$PUBLIC_URL" "$DEMO/summary" 7>&- 8>&- && return
    say "An order did not end as it should. The log of the front end: $DEMO/serve.log"
    fail_with_log "What the worker says may tell why." "$DEMO/worker.log"
}

print_links() {
    cat <<LINKS

shop          $PUBLIC_URL/
console       http://$OPS_LISTEN/ops
              token $CONSOLE_TOKEN
RabbitMQ      ${RABBITMQ_MANAGEMENT_URL:-not known, because AMQP_URL was given without RABBITMQ_MANAGEMENT_URL}
              user orderflow-inspector, password ${AMQP_INSPECTOR_PASSWORD:-not known}
              it may read ….dlq and orders.unrouted; Get messages puts back what it
              takes, and with Automatic ack it does not
mail          $(mail_link)
metrics       http://$OPS_LISTEN/metrics and http://$WORKER_LISTEN/metrics
logs          $DEMO/serve.log
              $DEMO/worker.log
LINKS
    if on "${MONITORING:-}"; then
        monitoring_links
    fi
    printf '\n'
}

mail_link() {
    if on "${MAIL_VIEW:-}"; then
        maildev_link
    else
        printf '%s' "$DEMO/mail ($(find "$DEMO/mail" -type f | wc -l) files so far)"
    fi
}

stay() {
    say "Ctrl-C ends the demo and stops what it started."
    while serve_runs && worker_runs; do sleep 1 7>&- 8>&-; done
    serve_runs || fail_with_log "The front end has ended by itself." "$DEMO/serve.log"
    fail_with_log "The worker has ended by itself." "$DEMO/worker.log"
}

# on VALUE: whether a switch such as ONCE is on.
on() { [ -n "$1" ] && [ "$1" != 0 ]; }

# A second Ctrl-C while things are being stopped must not leave half of them running.
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
# Ctrl-C is the way to end the demo once it stands, and only then a success.
trap 'on_signal 130' INT
trap 'on_signal 143' TERM HUP

need_command cc gcc libc6-dev
need_command python3 python3
stop_programs
# No descriptor of a lock may stay with the servers that this starts.
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
place_orders
print_links
if ! on "${ONCE:-}"; then
    trap 'on_signal 0' INT
    stay
fi
clean_up
cat "$DEMO/summary"
