# shellcheck shell=bash
# What the private instances remember between runs, and .dev/env that is made from it.
# Sourced by services.sh.

STATE=$DEV/state

# remembered NAME COMMAND...: a value that COMMAND makes once and every later run finds again.
remembered() {
    local file=$STATE/$1
    if [ ! -s "$file" ]; then
        "${@:2}" >"$file.new"
        mv "$file.new" "$file"
    fi
    cat "$file"
}

secret() { remembered "$1" random_hex 24; }

# The path gives the node its name and its ports their place, so that two checkouts
# (and two versions in one) are told apart in `ps` and seldom want the same port.
checkout_hash() { printf '%s' "${DEV%/.dev}" | sha256sum | cut -c1-8; }

# Below 32768, where Linux hands out no outgoing ports: a port taken while we are down would
# otherwise be a matter of luck. Steps of ten keep the ports of one instance distinct.
choose_port() {
    free_port $((20000 + (16#$(checkout_hash) % 1100) * 10 + $1)) 10
}

PORT_NAMES=(postgres-port amqp-port management-port prometheus-port epmd-port distribution-port)

# port NAME: the remembered port of NAME.
port() {
    local index
    for index in "${!PORT_NAMES[@]}"; do
        if [ "${PORT_NAMES[index]}" = "$1" ]; then
            remembered "$1" choose_port "$index"
        fi
    done
}

# free_the_port NAME WHAT: before a start, moves to another port if a stranger has taken ours.
free_the_port() {
    local old new
    old=$(port "$1")
    port_taken "$old" || return 0
    rm -f "$STATE/$1"
    new=$(port "$1")
    say "port $old is taken by another program: $2 moves to $new"
}

# given VALUE SECRET...: whether the caller has set a URL of his own. One that carries a secret
# of ours came from an earlier .dev/env and means our instance.
given() {
    local own
    [ -n "$1" ] || return 1
    for own in "${@:2}"; do
        [[ $1 != *":$own@"* ]] || return 1
    done
}

own_database() { given "${DATABASE_URL:-}" "$(secret postgres-password)"; }
own_broker() { given "${AMQP_URL:-}" "$(secret amqp-worker-password)" "$(secret amqp-admin-password)"; }

write_env() {
    {
        echo "# Written by scripts/services.sh: the settings of this directory's services."
        env_database
        env_broker
        echo "TOKEN_SECRET=${TOKEN_SECRET:-$(remembered token-secret random_hex 32)}"
    } >"$DEV/env.new"
    mv "$DEV/env.new" "$DEV/env"
    say "settings: $DEV/env"
}

env_database() {
    if own_database; then
        echo "DATABASE_URL=$DATABASE_URL"
    else
        echo "DATABASE_URL=postgres://orderflow:$(secret postgres-password)@127.0.0.1:$(port postgres-port)/orderflow"
    fi
}

env_broker() {
    local name at
    if own_broker; then
        # Passwords are passed on but not made up: `topology apply` sets them, and on a broker
        # that is not ours that would lock out whoever uses the old ones.
        for name in AMQP_URL AMQP_ADMIN_URL RABBITMQ_MANAGEMENT_URL RABBITMQ_PROMETHEUS_URL \
            AMQP_WEB_PASSWORD AMQP_WORKER_PASSWORD AMQP_VIEWER_PASSWORD AMQP_INSPECTOR_PASSWORD; do
            if [ -n "${!name:-}" ]; then
                echo "$name=${!name}"
            fi
        done
        return
    fi
    at=127.0.0.1:$(port amqp-port)/orderflow
    echo "AMQP_URL=amqp://orderflow-worker:$(secret amqp-worker-password)@$at"
    echo "AMQP_ADMIN_URL=amqp://orderflow-admin:$(secret amqp-admin-password)@$at"
    echo "RABBITMQ_MANAGEMENT_URL=http://127.0.0.1:$(port management-port)"
    echo "RABBITMQ_PROMETHEUS_URL=http://127.0.0.1:$(port prometheus-port)"
    echo "AMQP_WEB_PASSWORD=$(secret amqp-web-password)"
    echo "AMQP_WORKER_PASSWORD=$(secret amqp-worker-password)"
    echo "AMQP_VIEWER_PASSWORD=$(secret amqp-viewer-password)"
    echo "AMQP_INSPECTOR_PASSWORD=$(secret amqp-inspector-password)"
}
