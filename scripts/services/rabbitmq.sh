# shellcheck shell=bash
# The private RabbitMQ. Sourced by services.sh.

RABBIT=$DEV/rabbitmq
# Not the wrappers in /usr/sbin: those switch to the user rabbitmq and that user's files.
RABBIT_PROGRAMS=/usr/lib/rabbitmq/bin

# The Debian whose RabbitMQ is used; empty: this machine's.
RABBITMQ_IN=$(debian_with_rabbitmq)
RABBITMQ_ROOT=${RABBITMQ_IN:+$(debian_root "$RABBITMQ_IN")}
# Prefixed to each of its programs.
RABBITMQ_RUN=()
[ -z "$RABBITMQ_ROOT" ] || RABBITMQ_RUN=("$HERE/in-debian.sh" "$RABBITMQ_ROOT" "$DEV")

rabbitmq_version() {
    find "$RABBITMQ_ROOT/usr/lib/rabbitmq/lib" -maxdepth 1 -name 'rabbitmq_server-*' 2>/dev/null |
        sed 's/.*rabbitmq_server-//' | sort -V | tail -n 1
}

node_name() { remembered node-name printf 'orderflow-%s@localhost' "$(checkout_hash)"; }

# The variables that rabbitmqctl and the server must share. A separate home holds the Erlang cookie; a separate port
# mapper (epmd) neither uses nor disturbs the system's.
rabbitmqctl_environment() {
    cat <<ENV
HOME=$RABBIT/home
RABBITMQ_NODENAME=$(node_name)
RABBITMQ_CONF_ENV_FILE=$RABBIT/rabbitmq-env.conf
ERL_EPMD_PORT=$(port epmd-port)
ERL_EPMD_ADDRESS=127.0.0.1
RABBITMQ_CTL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}
ENV
}

rabbitmq_environment() {
    rabbitmqctl_environment
    cat <<ENV
$INSTANCE_MARK
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LANG=C.UTF-8
ERL_CRASH_DUMP=$RABBIT/log/erl_crash.dump
RABBITMQ_CONFIG_FILE=$RABBIT/rabbitmq.conf
RABBITMQ_ADVANCED_CONFIG_FILE=$RABBIT/advanced.config
RABBITMQ_ENABLED_PLUGINS_FILE=$RABBIT/enabled_plugins
RABBITMQ_MNESIA_BASE=$RABBIT/data
RABBITMQ_LOG_BASE=$RABBIT/log
RABBITMQ_PID_FILE=$RABBIT/node.pid
RABBITMQ_DIST_PORT=$(port distribution-port)
RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}
ENV
}

# in_rabbitmq_environment COMMAND...: runs it with only these variables. A RABBITMQ_ or ERL_ variable of the caller
# would point to another node.
in_rabbitmq_environment() {
    local environment
    mapfile -t environment < <(rabbitmq_environment)
    exec env -i "${environment[@]}" "$@"
}

# The server's start script waits for the node, but the node outlives it if it is killed.
rabbitmq_runs() { own_pid "$RABBIT/server.pid" >/dev/null || own_pid "$RABBIT/node.pid" >/dev/null; }

rabbitmq_answers() {
    [ "$(http_status "$(port management-port)" "/api/health/checks/port-listener/$(port amqp-port)" \
        "orderflow-admin:$(secret amqp-admin-password)")" = 200 ]
}

rabbitmq_up() {
    if own_broker; then
        say "RabbitMQ: using AMQP_URL, which is set"
        [ -n "${AMQP_ADMIN_URL:-}" ] || say "RabbitMQ: AMQP_ADMIN_URL is not set; topology apply and the tests need it"
        return
    fi
    rabbitmq_new_enough
    if rabbitmq_runs && rabbitmq_answers; then
        say "RabbitMQ: already running on 127.0.0.1:$(port amqp-port)"
    else
        rabbitmq_start
    fi
}

# Retries need a time-to-live in quorum queues and at-least-once dead-lettering.
rabbitmq_new_enough() {
    local version
    version=$(rabbitmq_version)
    [ "$(printf '%s\n' 3.10 "$version" | sort -V | head -n 1)" = 3.10 ] ||
        die "RabbitMQ $version is too old, 3.10 is needed: install a newer one, or set AMQP_URL and AMQP_ADMIN_URL to your own broker."
}

rabbitmq_start() {
    if ! rabbitmq_runs; then
        rabbitmq_free_the_ports
        rabbitmq_configure
        epmd_start
        rabbitmq_spawn
    fi
    printf 'RabbitMQ %s: starting on 127.0.0.1:%s ' "$(rabbitmq_version)" "$(port amqp-port)"
    # After the first supervisor report in the log, Erlang repeats the same error.
    wait_until 90 rabbitmq_runs rabbitmq_answers ||
        fail_with_log "RabbitMQ ended while it started, or was not ready within 90 s." \
            "$RABBIT/log/startup.log" "supervisor: {local,"
}

rabbitmq_free_the_ports() {
    # An epmd of ours that outlived its node still holds its port, so it is stopped first.
    stop_own "$RABBIT/epmd.pid" 10 || die "The port mapper (epmd) of an earlier run does not end."
    free_the_port amqp-port RabbitMQ
    free_the_port management-port "RabbitMQ's management UI"
    free_the_port prometheus-port "RabbitMQ's metrics"
    free_the_port epmd-port "RabbitMQ's port mapper"
    free_the_port distribution-port "RabbitMQ's cluster port"
}

rabbitmq_configure() {
    mkdir -p "$RABBIT/home" "$RABBIT/data" "$RABBIT/log"
    if [ ! -s "$RABBIT/home/.erlang.cookie" ]; then
        random_hex 24 >"$RABBIT/home/.erlang.cookie"
        chmod 400 "$RABBIT/home/.erlang.cookie"
    fi
    # Our own empty files, or the server would read the machine's in /etc/rabbitmq.
    : >"$RABBIT/rabbitmq-env.conf"
    echo '[].' >"$RABBIT/advanced.config"
    # A copy, because `rabbitmq-plugins enable` writes to it.
    cp "$ROOT/rabbitmq/enabled_plugins" "$RABBIT/enabled_plugins"
    # If a setting occurs twice, the later one applies.
    {
        cat "$ROOT/rabbitmq/rabbitmq.conf"
        rabbitmq_private_conf
    } >"$RABBIT/rabbitmq.conf"
    rabbitmqctl_write
}

rabbitmq_private_conf() {
    cat <<CONF

## From here on written by scripts/services.sh, for the private instance of this directory.
listeners.tcp.default = 127.0.0.1:$(port amqp-port)
management.tcp.ip = 127.0.0.1
management.tcp.port = $(port management-port)
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $(port prometheus-port)

## A blank node creates this user instead of guest; topology apply creates the others.
default_vhost = orderflow
default_user = orderflow-admin
default_pass = $(secret amqp-admin-password)
default_user_tags.administrator = true

## Tests fill hundreds of quorum queues, which share one write-ahead log that is kept in memory until it rolls over: the
## default of 512 MB is too much for a developer's machine.
raft.wal_max_size_bytes = 64000000

## A developer's disk is often nearly full, and hanging publishers are a poor way to report it.
disk_free_limit.absolute = 500MB
CONF
}

# For developers: call the wrapper, or source the file for the other tools.
rabbitmqctl_write() {
    local line
    {
        echo "# Written by scripts/services.sh: the variables with which rabbitmqctl finds this directory's node."
        rabbitmqctl_environment | while IFS= read -r line; do
            printf '%s=%q\n' "${line%%=*}" "${line#*=}"
        done
    } >"$DEV/rabbitmqctl-env"
    cat >"$DEV/rabbitmqctl" <<WRAPPER
#!/usr/bin/env bash
# Runs rabbitmqctl on the private node of this directory.
set -a
. "\$(dirname "\$0")/rabbitmqctl-env"
exec ${RABBITMQ_RUN[@]@Q} $RABBIT_PROGRAMS/rabbitmqctl "\$@"
WRAPPER
    chmod 700 "$DEV/rabbitmqctl"
}

# Started by us and in the foreground, because then its pid is known and it can be stopped again; one that Erlang starts
# stays forever.
epmd_start() {
    (in_rabbitmq_environment setsid "${RABBITMQ_RUN[@]}" epmd -address 127.0.0.1 -port "$(port epmd-port)") \
        >"$RABBIT/log/epmd.log" 2>&1 </dev/null 8>&- 9>&- &
    echo $! >"$RABBIT/epmd.pid"
}

# A separate session, so that Ctrl-C in the terminal does not reach the server.
rabbitmq_spawn() {
    (
        raise_file_limit
        in_rabbitmq_environment setsid "${RABBITMQ_RUN[@]}" "$RABBIT_PROGRAMS/rabbitmq-server"
    ) >"$RABBIT/log/startup.log" 2>&1 </dev/null 8>&- 9>&- &
    echo $! >"$RABBIT/server.pid"
    # Until the new process has its environment, its pid does not count as ours.
    sleep 0.3
}

# Every quorum queue keeps files open, and Debian's default of 1024 suffices for about two test vhosts.
raise_file_limit() {
    local hard
    hard=$(ulimit -Hn)
    if [ "$hard" = unlimited ] || ((hard > 65536)); then
        hard=65536
    fi
    ulimit -Sn "$hard" || true
}

rabbitmq_down() {
    if rabbitmq_runs; then
        # The node first: its start script would also stop it, but may no longer run.
        { stop_own "$RABBIT/node.pid" 60 && stop_own "$RABBIT/server.pid" 20; } ||
            fail_with_log "RabbitMQ did not stop within 60 s." "$RABBIT/log/startup.log"
        say "RabbitMQ: stopped"
    fi
    stop_own "$RABBIT/epmd.pid" 10 || die "RabbitMQ's port mapper (epmd) did not stop within 10 s."
}
