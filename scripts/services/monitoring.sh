# shellcheck shell=bash
# Prometheus and Alertmanager for the demo, with the rules of monitoring/. Sourced by demo.sh, which defines $DEMO,
# $ADDRESS and how to start a program.

# Uses the usual ports where they are free, else the next ones.
monitoring_start() {
    install_monitoring 7>&- 8>&-
    PROMETHEUS=127.0.0.1:$(free_port 9090)
    ALERTMANAGER=127.0.0.1:$(free_port 9093)
    # An earlier demo's figures would appear as if it had just stopped.
    rm -rf "$DEMO/prometheus" "$DEMO/alertmanager"
    mkdir -p "$DEMO/prometheus" "$DEMO/alertmanager"
    prometheus_config >"$DEMO/prometheus/prometheus.yml"
    alertmanager_config >"$DEMO/alertmanager/alertmanager.yml"

    # There is only one Alertmanager, so it needs no cluster.
    spawn alertmanager prometheus-alertmanager --config.file="$DEMO/alertmanager/alertmanager.yml" \
        --storage.path="$DEMO/alertmanager" --cluster.listen-address= \
        --web.listen-address="$ALERTMANAGER" --web.external-url="http://$ALERTMANAGER"
    spawn prometheus prometheus --config.file="$DEMO/prometheus/prometheus.yml" \
        --storage.tsdb.path="$DEMO/prometheus/data" \
        --web.listen-address="$PROMETHEUS" --web.external-url="http://$PROMETHEUS"
    printf 'Alertmanager: starting on %s ' "$ALERTMANAGER"
    wait_until 60 alertmanager_runs alertmanager_ready ||
        fail_with_log "Alertmanager ended while it started, or was not ready within 60 s." "$DEMO/alertmanager.log"
    printf 'Prometheus: starting on %s ' "$PROMETHEUS"
    wait_until 60 prometheus_runs prometheus_sees ||
        fail_with_log "Prometheus ended while it started, or did not reach all its targets within 60 s." "$DEMO/prometheus.log"
}

alertmanager_runs() { own_pid "$DEMO/alertmanager.pid" >/dev/null; }
alertmanager_ready() { [ "$(http_status "${ALERTMANAGER##*:}" /-/ready)" = 200 ]; }
prometheus_runs() { own_pid "$DEMO/prometheus.pid" >/dev/null; }

# Whether all its targets have answered.
prometheus_sees() {
    [ "$(http_status "${PROMETHEUS##*:}" /-/ready)" = 200 ] || return 1
    python3 - "http://$PROMETHEUS/api/v1/targets" <<'PYTHON'
import json, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(sys.argv[1], timeout=5) as answer:
    targets = json.load(answer)["data"]["activeTargets"]
sys.exit(0 if targets and all(target["health"] == "up" for target in targets) else 1)
PYTHON
}

# Like monitoring/prometheus.yml, but with local addresses and shorter intervals, since a demo must be quick.
prometheus_config() {
    cat <<CONFIG
global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 5s}
rule_files: ["$ROOT/monitoring/alerts.yml", "$ROOT/monitoring/advice.yml"]
alerting:
  alertmanagers:
    - static_configs: [{targets: ["$ALERTMANAGER"]}]
scrape_configs:
  - job_name: web
    static_configs: [{targets: ["${ADDRESS[shop-metrics]}"]}]
  - job_name: console
    static_configs: [{targets: ["${ADDRESS[console]}"]}]
  - job_name: worker
    static_configs:
$(for service in "${SERVICES[@]}"; do echo "      - {targets: [\"${ADDRESS[$service]}\"]}"; done)
CONFIG
    # For your own broker, only you know where its metrics are.
    [ -z "${RABBITMQ_PROMETHEUS_URL:-}" ] || cat <<CONFIG
  - job_name: rabbitmq
    static_configs: [{targets: ["${RABBITMQ_PROMETHEUS_URL#http://}"]}]
  - job_name: rabbitmq-queues
    metrics_path: /metrics/detailed
    params: {vhost: ["${AMQP_URL##*/}"], family: [queue_coarse_metrics, queue_consumer_count]}
    static_configs: [{targets: ["${RABBITMQ_PROMETHEUS_URL#http://}"]}]
CONFIG
}

# Like monitoring/alertmanager.yml, but without mails: there is no mail server here. Its page shows the receivers.
alertmanager_config() {
    awk '/^receivers:/ { print "receivers: [{name: pages}, {name: tickets}]"; within = 1; next }
         /^[a-z]/ { within = 0 }
         !within' "$ROOT/monitoring/alertmanager.yml"
}

monitoring_links() {
    cat <<LINKS
Prometheus    http://$PROMETHEUS (metrics; /alerts, /targets)
Alertmanager  http://$ALERTMANAGER (alerts and their receivers)
LINKS
}
