#!/usr/bin/env bash
# Builds the image, runs docker-compose.yml in a Docker Engine of its own, and checks what docs/INSTALLING.md promises:
# set-up, orders, more workers, a stop and a start, an upgrade, a worker out of memory, privileges, health.
#
#   containers.sh [--if-possible]
#   REVISION=COMMIT containers.sh    names this commit in the image; another one than before compiles our code again
#
# Only root can start the engine; --if-possible succeeds where it cannot run, and says why. The first run takes about
# half an hour on two cores, and 6 GB below .dev/containers; later runs reuse its images and build cache.
#
# It pulls no image: scripts/stand-ins/ builds stand-ins from Debian's packages. So this is not checked: the entry
# points and users of the real images, the named versions of Prometheus and Alertmanager, Mailpit, and the optional
# Grafana and Jaeger. The upgrade is from one image to another of the same programs: for older programs and tables see
# tests/system/upgrade.rs.
set -euo pipefail
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/debian.sh
. "$HERE/debian.sh"

STATE=$DEV/containers
LOGS=$STATE/log
ORDERS=$STATE/orders
# shellcheck source=scripts/services/docker.sh
. "$HERE/services/docker.sh"

IF_POSSIBLE=no
if [ "${1:-}" = --if-possible ]; then IF_POSSIBLE=yes; fi
CHECK=preparation
CUSTOMERS=

# ---- a run -----------------------------------------------------------------------------------------------------------

# unable REASON: ends the run where no engine can run.
unable() {
    [ "$IF_POSSIBLE" = yes ] || die "The containers cannot be checked: $1"
    say "containers: not checked ($1)"
    exit 0
}

possible() {
    [ "$(id -u)" = 0 ] || unable "only root can start a Docker Engine"
    command -v apt-get >/dev/null || unable "the stand-ins need Debian or Ubuntu"
    command -v rustc >/dev/null || unable "rustc, which the build's stand-in copies, is not on the PATH"
    [ "$(rustc --print sysroot)" != /usr ] ||
        unable "the build's stand-in needs a compiler in a directory of its own, as rustup installs it"
    engine_stop
    ! other_engine ||
        unable "another Docker Engine runs here, and its firewall rules would stop these containers' traffic"
    (install_docker) || unable "Docker or debootstrap cannot be installed"
}

# Whether a Docker Engine runs here. Our own, just stopped, may remain listed for a moment, without a command line.
other_engine() {
    local name
    for name in $(grep -lx dockerd /proc/[0-9]*/comm 2>/dev/null); do
        [ -z "$(tr -d '\0' 2>/dev/null <"${name%comm}cmdline")" ] || return 0
    done
    return 1
}

# A second run would end the engine of the first.
only_one_run() {
    mkdir -p "$LOGS"
    exec 9>"$STATE/lock"
    flock -n 9 || die "make containers is already running in this directory."
}

# check NAME: begins a check; `passed` ends it.
check() {
    CHECK=$1 BEGAN=$SECONDS
    say "== $1"
}

# passed [DETAIL...]
passed() { say "ok ($((SECONDS - BEGAN)) s)${1:+: $*}"; }

# until_holds SECONDS CONDITION SENTENCE [DETAILS]: waits for the condition. After that time it ends the run with the
# sentence and with what DETAILS prints.
until_holds() {
    local deadline=$((SECONDS + $1))
    until "$2"; do
        ((SECONDS < deadline)) || die "After $1 s: $3${4:+$'\n'$("$4")}"
        sleep 0.5
    done
}

# However the run ends: keeps the containers' logs of a failed one, and leaves nothing running.
clean_up() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    [ -z "$CUSTOMERS" ] || kill "$CUSTOMERS" 2>/dev/null || true
    if engine_ready; then
        if [ "$status" != 0 ]; then
            compose ps --all >"$LOGS/containers.log" 2>&1 || true
            compose logs --no-color --timestamps >>"$LOGS/containers.log" 2>&1 || true
        fi
        engine_clear >>"$LOGS/engine.log" 2>&1 || say "Some containers or volumes stay below $STATE: see $LOGS/engine.log"
    fi
    engine_stop
    [ "$status" = 0 ] || say "containers: failed at: $CHECK. Logs: $LOGS (containers.log has those of the containers)"
    exit "$status"
}

# The settings of this installation: new passwords, free ports, no limit on orders.
write_settings() {
    local name port=18080
    rm -f "$STATE/settings" "$ORDERS"
    "$HERE/make-env.sh" "$STATE/settings" >"$LOGS/settings.log"
    for name in WEB OPS RABBITMQ MAILPIT PROMETHEUS ALERTMANAGER; do
        port=$(free_port "$((port + 1))")
        declare -g "${name}_PORT=$port"
        printf '%s_PORT=%s\n' "$name" "$port"
    done >>"$STATE/settings"
    SHOP=http://127.0.0.1:$WEB_PORT
    REVISION=${REVISION:-$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)}
    printf 'PUBLIC_URL=%s\nRATE_LIMIT=0\nREVISION=%s\n' "$SHOP" "$REVISION" >>"$STATE/settings"
}

# This engine has no default network, and RabbitMQ's limit of open files may exceed the machine's.
write_override() {
    local most
    most=$(ulimit -H -n)
    printf 'services:\n  setup:\n    build: {network: host}\n' >"$STATE/override.yml"
    if [ "$most" != unlimited ] && ((most < 65536)); then
        printf '  rabbitmq:\n    ulimits:\n      nofile: {soft: %s, hard: %s}\n' "$most" "$most" >>"$STATE/override.yml"
        say "RabbitMQ may open only $most files on this machine, instead of 65536"
    fi
}

# ---- helpers of the checks -------------------------------------------------------------------------------------------

# all_containers: fills the array ALL with the ids of all containers.
all_containers() { mapfile -t ALL < <(docker ps --all --quiet); }

# container SERVICE: prints the id of its first container.
container() {
    docker ps --all --quiet --filter "label=com.docker.compose.service=$1" \
        --filter label=com.docker.compose.oneoff=False | tail -n 1
}

# state CONTAINER FIELD: prints a field of what the engine knows about it.
state() { docker inspect --format "{{$2}}" "$1"; }

# Prints each container that is not as it should be: set-up ended with 0, all others are healthy.
unfit() {
    local service
    all_containers
    docker inspect --format '{{.Name}} {{.State.Status}} {{with .State.Health}}{{.Status}}{{else}}-{{end}} {{.State.ExitCode}}' \
        "${ALL[@]}" | grep -v -e ' running healthy 0$' -e '-setup-1 exited - 0$' || true
    for service in "${EXPECTED[@]}"; do
        [ -n "$(container "$service")" ] || printf '%s does not exist\n' "$service"
    done
}
all_fit() { [ -z "$(unfit)" ]; }

# start [ARGUMENT...]: docker compose up, and waits until every container is healthy. TOOK is the time in seconds.
start() {
    local began=$SECONDS
    compose up --detach "$@" >>"$LOGS/compose.log" 2>&1 || {
        compose logs --no-color setup 2>&1 | tail -n 5 >&2
        fail_with_log "docker compose up failed; the last lines of set-up are above." "$LOGS/compose.log"
    }
    until_holds 180 all_fit "not every container is healthy:" unfit
    TOOK=$((SECONDS - began))
}

orders() { python3 -B "$HERE/container_orders.py" "$SHOP" "$ORDERS" "$@"; }
orders_placed() { wc -l <"$ORDERS"; }

# Starts customers, who place orders one after the other until stop_customers.
start_customers() {
    # Not through `orders`: $! would be a shell, and a signal would end that instead of the customers.
    python3 -B "$HERE/container_orders.py" "$SHOP" "$ORDERS" keep-placing >"$LOGS/customers.log" 2>&1 9>&- &
    CUSTOMERS=$!
    five_more_orders
}

# Ends them after five more orders, and prints their report.
stop_customers() {
    local pid=$CUSTOMERS
    five_more_orders
    CUSTOMERS=
    kill -TERM "$pid"
    wait "$pid" || fail_with_log "The customers failed." "$LOGS/customers.log"
    cat "$LOGS/customers.log"
}

five_more_orders() {
    ENOUGH=$(($(orders_placed) + 5))
    until_holds 60 orders_are_enough "the customers have not placed five orders:" customers_report
}
orders_are_enough() { [ "$(orders_placed)" -ge "$ENOUGH" ]; }
customers_report() { cat "$LOGS/customers.log"; }

# Prints name, messages and consumers of each queue.
queues() {
    compose exec -T rabbitmq rabbitmqctl --quiet list_queues --vhost orderflow --no-table-headers name messages consumers
}

# Every order shipped and is consistent, there are as many as customers placed, three of them in the demo, and no
# message failed.
nothing_is_lost() {
    local expected=$(($(orders_placed) + 3))
    orders settle
    compose run --rm -T orderflow audit --json >"$LOGS/audit.json" 2>>"$LOGS/compose.log" ||
        die "orderflow audit found violations: $LOGS/audit.json"
    python3 - "$LOGS/audit.json" "$expected" <<'PYTHON'
import json, sys
audit = json.load(open(sys.argv[1], encoding="utf-8"))
if not audit["ok"] or audit["orders"] != int(sys.argv[2]):
    sys.exit(f"{sys.argv[2]} orders were placed, but the audit has {audit['orders']} (ok: {audit['ok']}).")
PYTHON
    until_holds 30 no_message_failed "these queues have failed messages:" failed_messages
    say "orderflow audit: $expected orders, as many as were placed, all consistent; no message failed"
}
failed_messages() { queues | awk '($1 ~ /\.dlq$/ || $1 == "orders.unrouted") && $2 != 0'; }
no_message_failed() {
    local failed
    # An error of RabbitMQ is not an empty answer.
    failed=$(failed_messages) && [ -z "$failed" ]
}

megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

# ---- the checks ------------------------------------------------------------------------------------------------------

build_image() {
    check "the Dockerfile builds"
    say "the log is $LOGS/build.log"
    compose build setup >"$LOGS/build.log" 2>&1 || fail_with_log "docker compose build failed." "$LOGS/build.log"
    passed
}

# Debug information is most of a release build. The names of functions stay, for backtraces.
inspect_image() {
    local program sections size
    check "the image holds stripped programs that name their commit"
    for program in orderflow orderflow-worker; do
        docker run --rm --network none orderflow:local cat "/usr/local/bin/$program" >"$STATE/program"
        sections=$(readelf --sections --wide "$STATE/program")
        [[ $sections != *' .debug_line '* ]] || die "$program has debug information."
        [[ $sections == *' .symtab '* ]] || die "$program lacks the names of its functions, so backtraces do too."
        say "$program: $(megabytes "$(stat --format %s "$STATE/program")")"
        docker run --rm --network none orderflow:local "$program" --version | grep -F "${REVISION:0:12}" >/dev/null ||
            die "$program --version does not name the commit $REVISION."
    done
    rm "$STATE/program"
    size=$(megabytes "$(docker image inspect --format '{{.Size}}' orderflow:local)")
    passed "the image has $size, of which the base image's stand-in has" \
        "$(megabytes "$(docker image inspect --format '{{.Size}}' "$BASE")")"
}

first_start() {
    check "docker compose up, on empty volumes: set-up completes, and every container becomes healthy"
    start
    passed "$TOOK s from the command to the last healthy container"
}

# As the engine reports it, as the kernel reports it, and by trying.
inspect_privileges() {
    local id name given status written
    check "no container can write its root file system, has a capability or runs as root"
    all_containers
    for id in "${ALL[@]}"; do
        name=$(state "$id" .Name)
        given=$(docker inspect --format '{{with .HostConfig}}{{.ReadonlyRootfs}} {{.CapDrop}} {{.CapAdd}} {{.Privileged}} {{.SecurityOpt}}{{end}}' "$id")
        [ "$given" = 'true [ALL] [] false [no-new-privileges:true]' ] || die "$name has other privileges: $given"
        [ "$(state "$id" .HostConfig.Memory)" != 0 ] || die "$name has no memory limit."
        [ "$(state "$id" .State.Running)" = true ] || continue
        status=/proc/$(state "$id" .State.Pid)/status
        ! grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' "$status" || die "$name has capabilities."
        ! grep -E '^(Uid:\s0\s|NoNewPrivs:\s0)' "$status" || die "$name runs as root, or may gain privileges."
        ! written=$(docker exec "$id" touch /written 2>&1) || die "$name can write its root file system."
        [[ $written == *'Read-only file system'* ]] || die "$name cannot write its root file system, but because: $written"
    done
    passed "${#ALL[@]} containers"
}

demo() {
    check "the demo's orders end as shipped, declined and cancelled"
    python3 -B "$HERE/demo_orders.py" "$SHOP" "$STATE/summary" >"$LOGS/demo.log" 2>&1 ||
        fail_with_log "An order did not end as expected." "$LOGS/demo.log"
    # Each order has a mail when it is accepted and one when it ends.
    until_holds 60 six_mails "the mail server does not have the six mails of these orders."
    until_holds 60 prometheus_sees_all "Prometheus does not reach every process."
    passed "$(cat "$STATE/summary"); six mails; Prometheus reaches every process"
}

# answer_holds URL EXPRESSION: whether the expression is true of `it`, the JSON at the URL.
answer_holds() {
    python3 - "$@" 2>/dev/null <<'PYTHON'
import json, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(sys.argv[1], timeout=5) as answer:
    it = json.load(answer)
sys.exit(not eval(sys.argv[2]))
PYTHON
}
six_mails() { answer_holds "http://127.0.0.1:$MAILPIT_PORT/api/v1/messages" 'it["total"] >= 6'; }
# Shop, console, the workers, and RabbitMQ twice.
prometheus_sees_all() {
    answer_holds "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/targets" \
        "[one['health'] for one in it['data']['activeTargets']] == ['up'] * $((${#SERVICES[@]} + 4))"
}

scale() {
    check "three payment workers share every payment queue"
    start --scale payment=3
    until_holds 60 three_consumers_each "not every payment queue has three consumers (name, messages, consumers):" queues
    orders place 3
    orders settle
    passed "three orders shipped"
}
three_consumers_each() {
    queues | awk '$1 ~ /^payment\./ && $1 !~ /\.dlq$/ { n++; if ($3 != 3) bad = 1 } END { exit bad || !n }'
}

# Two orders wait in payment's queue during the restart: they ship only if RabbitMQ keeps its data.
stop_and_start() {
    check "docker compose stop and up keep the data"
    compose stop payment >>"$LOGS/compose.log" 2>&1
    orders place 2
    until_holds 60 two_messages_wait "the two orders do not wait in payment.order-created (name, messages, consumers):" queues
    compose stop >>"$LOGS/compose.log" 2>&1
    all_containers
    ! docker inspect --format '{{.Name}} {{.State.Status}} {{.State.ExitCode}}' "${ALL[@]}" | grep -v ' exited 0$' ||
        die "These containers did not stop cleanly."
    compose up --detach --wait rabbitmq >>"$LOGS/compose.log" 2>&1
    until_holds 60 two_messages_wait "RabbitMQ lost messages of payment.order-created (name, messages, consumers):" queues
    start
    nothing_is_lost
    passed "$TOOK s from the command to the last healthy container"
}
two_messages_wait() { [ "$(queues | awk '$1 == "payment.order-created" { print $2 }')" = 2 ]; }

# The new image differs only in its label, so set-up runs over existing data and every program is replaced.
upgrade() {
    local image service
    check "an upgrade while customers place orders"
    start_customers
    compose build --build-arg VERSION=upgrade setup >"$LOGS/upgrade.log" 2>&1 ||
        fail_with_log "docker compose build failed." "$LOGS/upgrade.log"
    start
    stop_customers
    image=$(docker image inspect --format '{{.Id}}' orderflow:local)
    for service in setup web console "${SERVICES[@]}"; do
        [ "$(state "$(container "$service")" .Image)" = "$image" ] || die "$service still has the old image."
    done
    nothing_is_lost
    passed "$TOOK s from the command to the last healthy container"
}

# A file in /dev/shm counts as memory of the container but of no process, so the kernel kills the largest process: the
# worker. Its usual limit of 512 MB is lowered first, because /dev/shm holds 64 MB.
exhaust_memory() {
    local since events
    check "a worker killed by its memory limit restarts, and orders continue"
    WORKER=$(container payment)
    RESTARTS=$(state "$WORKER" .RestartCount)
    since=$(date +%s)
    start_customers
    docker update --memory 64m --memory-swap 64m "$WORKER" >>"$LOGS/compose.log" 2>&1
    docker exec "$WORKER" bash -c 'cat /dev/zero >/dev/shm/full' >>"$LOGS/compose.log" 2>&1 || true
    until_holds 60 restarted "the payment worker did not restart."
    until_holds 60 all_fit "not every container is healthy:" unfit
    stop_customers
    events=$(docker events --since "$since" --until "$(date +%s)" --filter "container=$WORKER" \
        --format '{{.Action}} {{.Actor.Attributes.exitCode}}')
    grep '^oom ' <<<"$events" >/dev/null || die "The engine reports no lack of memory, but: $events"
    grep -x 'die 137' <<<"$events" >/dev/null || die "The worker was not killed: $events"
    say "OOMKilled: $(state "$WORKER" .State.OOMKilled), exit status 137, restarted"
    nothing_is_lost
    passed
}
restarted() { [ "$(state "$WORKER" .RestartCount)" -gt "$RESTARTS" ]; }

operators_commands() {
    check "the operator's commands run"
    compose run --rm -T setup orderflow doctor >"$LOGS/doctor.log" 2>&1 ||
        fail_with_log "orderflow doctor failed." "$LOGS/doctor.log"
    compose run --rm -T orderflow queues >"$LOGS/queues.log" 2>&1 ||
        fail_with_log "orderflow queues failed." "$LOGS/queues.log"
    passed
}

only_one_run
possible
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
need_command python3 python3
need_command readelf binutils
engine_start || unable "the Docker Engine does not start; its log is $LOGS/engine.log"
engine_clear >>"$LOGS/engine.log" 2>&1
write_settings
write_override
need_base
build_stand_ins
mapfile -t EXPECTED < <(compose config --services)

build_image
inspect_image
first_start
inspect_privileges
demo
scale
stop_and_start
upgrade
exhaust_memory
operators_commands

say "containers: ok. Not run, because other images than ours were stand-ins from Debian's packages: their entry points" \
    "and users, the named versions of Prometheus and Alertmanager, Mailpit, Grafana and Jaeger."
