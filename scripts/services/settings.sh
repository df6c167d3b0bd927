# shellcheck shell=bash
# The state of the private instances between runs, and .dev/env, which is made from it. Sourced by services.sh.

STATE=$DEV/state

# remembered NAME COMMAND...: prints a value that COMMAND produces once and later runs reuse.
remembered() {
    local file=$STATE/$1
    if [ ! -s "$file" ]; then
        "${@:2}" >"$file.new"
        mv "$file.new" "$file"
    fi
    cat "$file"
}

secret() { remembered "$1" random_hex 24; }

# The path determines the node's name and ports, so that two checkouts (and two versions in one) are distinguishable
# in `ps` and rarely need the same port.
checkout_hash() { printf '%s' "${DEV%/.dev}" | sha256sum | cut -c1-8; }

# Below 32768, where Linux assigns no outgoing ports, so that none of ours is taken by chance while we are down. Steps
# of ten keep the ports of one instance distinct.
choose_port() {
    free_port $((20000 + (16#$(checkout_hash) % 1100) * 10 + $1)) 10
}

PORT_NAMES=(postgres-port amqp-port management-port prometheus-port epmd-port distribution-port)

# port NAME: prints the stored port of NAME.
port() {
    local index
    for index in "${!PORT_NAMES[@]}"; do
        if [ "${PORT_NAMES[index]}" = "$1" ]; then
            remembered "$1" choose_port "$index"
        fi
    done
}

# free_the_port NAME WHAT: before a start, selects another port if another program uses ours.
free_the_port() {
    local old new
    old=$(port "$1")
    port_taken "$old" || return 0
    rm -f "$STATE/$1"
    new=$(port "$1")
    say "port $old is taken by another program: $2 moves to $new"
}

# given VALUE SECRET...: whether the caller has set their own URL. One with a secret of ours came from an earlier
# .dev/env and means our instance.
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

# passwords PREFIX NAME...: prints a line with the password of each of these, of each service's workers, and of
# operators.
passwords() {
    local name prefix=$1
    for name in "${@:2}" ops "${SERVICES[@]}"; do
        echo "$(setting_name "$prefix-$name")_PASSWORD=$(secret "$prefix-$name-password")"
    done
}

# pass_on PATTERN: prints the caller's settings with these names. It generates no password for servers that are not
# ours: `topology apply` and `rights apply` would set it, and lock out every program with the old one.
pass_on() {
    local name
    while IFS= read -r name; do
        [ -z "${!name}" ] || echo "$name=${!name}"
    done < <(compgen -e | grep -Ex "$1")
}

env_database() {
    if own_database; then
        pass_on 'DATABASE_(URL|[A-Z0-9_]+_PASSWORD)'
        return
    fi
    echo "DATABASE_URL=postgres://orderflow:$(secret postgres-password)@127.0.0.1:$(port postgres-port)/orderflow"
    passwords database web
}

env_broker() {
    local at
    if own_broker; then
        pass_on 'AMQP_(URL|ADMIN_URL|[A-Z0-9_]+_PASSWORD)|RABBITMQ_(MANAGEMENT|PROMETHEUS)_URL'
        return
    fi
    at=127.0.0.1:$(port amqp-port)/orderflow
    echo "AMQP_URL=amqp://orderflow-worker:$(secret amqp-worker-password)@$at"
    echo "AMQP_ADMIN_URL=amqp://orderflow-admin:$(secret amqp-admin-password)@$at"
    echo "RABBITMQ_MANAGEMENT_URL=http://127.0.0.1:$(port management-port)"
    echo "RABBITMQ_PROMETHEUS_URL=http://127.0.0.1:$(port prometheus-port)"
    passwords amqp web worker viewer inspector
}
