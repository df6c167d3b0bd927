# shellcheck shell=bash
# The page on which a visitor kills the demo's processes: scripts/lab/lab.py. Sourced by demo.sh, which defines $DEMO,
# $BIN and how to start a program.

# Uses the usual port where it is free, else the next one. The workers must run already: the lab reads from /proc how
# to start them again.
lab_start() {
    local broker=()
    LAB_ADDRESS=127.0.0.1:$(free_port 8090)
    # Only a RabbitMQ that services.sh runs may be killed.
    ! own_pid "$DEV/rabbitmq/node.pid" >/dev/null || broker=(--broker "$DEV/rabbitmq")
    # -B: without it Python would write its cache into the sources.
    spawn lab python3 -B "$ROOT/scripts/lab/lab.py" --listen "$LAB_ADDRESS" --shop "$PUBLIC_URL" \
        --programs "$BIN" --processes "$DEMO" "${broker[@]}" "${SERVICES[@]}"
    printf 'lab: starting on %s ' "$LAB_ADDRESS"
    wait_until 30 lab_runs lab_ready ||
        fail_with_log "The lab ended while it started, or was not ready within 30 s." "$DEMO/lab.log"
}

lab_runs() { own_pid "$DEMO/lab.pid" >/dev/null; }
lab_ready() { [ "$(http_status "${LAB_ADDRESS##*:}" /state)" = 200 ]; }

lab_link() {
    printf 'lab           http://%s (kill it, stop it, prove it: docs/TUTORIAL.md)\n' "$LAB_ADDRESS"
}
