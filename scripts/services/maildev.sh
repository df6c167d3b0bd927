# shellcheck shell=bash
# maildev for the demo: a mail server that forwards nothing, and a page that shows its mails. Sourced by demo.sh, which
# defines $DEMO and how to start a program.

# Uses the usual ports where they are free, else the next ones.
maildev_start() {
    local smtp web
    node_tools maildev "$ROOT/scripts/maildev" 7>&- 8>&- ||
        fail_with_log "maildev could not be installed." "$DEV/log/maildev-tools.log"
    smtp=$(free_port 1025)
    web=$(free_port 1080)
    MAILDEV=127.0.0.1:$web
    export MAIL=smtp SMTP_URL=smtp://127.0.0.1:$smtp
    rm -rf "$DEMO/maildev"
    spawn maildev node "$DEV/tools/maildev/node_modules/maildev/bin/maildev" --silent \
        --ip 127.0.0.1 --smtp "$smtp" --web "$web" --mail-directory "$DEMO/maildev"
    printf 'maildev: starting on %s ' "$MAILDEV"
    wait_until 60 maildev_runs maildev_ready ||
        fail_with_log "maildev ended while it started, or was not ready within 60 s." "$DEMO/maildev.log"
}

maildev_runs() { own_pid "$DEMO/maildev.pid" >/dev/null; }
maildev_ready() { [ "$(http_status "${MAILDEV##*:}" /healthz)" = 200 ]; }

maildev_link() { printf 'http://%s (every mail, in a mail viewer)' "$MAILDEV"; }
