# shellcheck shell=bash
# Functions that the scripts of this directory share. It is sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
DEV=$ROOT/.dev

# Written by `make generate`: the services, and those that sign links to orders with TOKEN_SECRET.
# shellcheck disable=SC2034 # Scripts that source this one read it.
# generated: services
SERVICES=(payment inventory shipping email order) SIGNERS=(email)
# end

# setting_name NAME: prints it as part of a setting's name: GIFT_CARDS for gift-cards.
setting_name() {
    local name=${1//-/_}
    printf '%s\n' "${name^^}"
}

say() { printf '%s\n' "$*"; }

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# fail_with_log SENTENCE LOG [UNTIL]: ends the script with the sentence, the log's path, and the last lines of the log,
# or of its part before the first line that matches UNTIL.
fail_with_log() {
    local log=$2
    printf '%s\nLog file: %s\n' "$1" "$log" >&2
    if [ -s "$log" ]; then
        printf 'Its last lines:\n' >&2
        sed "/${3:-^$.}/,\$d" "$log" | tail -n 20 >&2
    fi
    exit 1
}

random_hex() { od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# port_taken PORT: whether a program listens there. A connection is the cheapest test that needs no tool, and unlike a
# trial bind() it is not misled by TIME_WAIT.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port START [STEP]: prints the first port from START on without a listener.
free_port() {
    local port=$1 step=${2:-1} tries
    for ((tries = 0; tries < 500; tries++)); do
        port_taken "$port" || {
            printf '%s\n' "$port"
            return
        }
        port=$((port + step))
    done
    die "No free port was found between $1 and $port on 127.0.0.1."
}

# http_status PORT PATH [USER:PASSWORD]: prints the status code, or nothing without an answer.
# Uses only Bash, because a fresh machine may have neither curl nor wget.
http_status() {
    local port=$1 path=$2 login=${3:-} line=
    {
        exec 3<>"/dev/tcp/127.0.0.1/$port" || return 0
        printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n' "$path" "$port" >&3
        if [ -n "$login" ]; then
            printf 'Authorization: Basic %s\r\n' "$(printf '%s' "$login" | base64 -w 0)" >&3
        fi
        printf '\r\n' >&3
        IFS= read -r -t 5 line <&3 || true
        exec 3>&-
    } 2>/dev/null
    line=${line#HTTP/1.? }
    printf '%s\n' "${line:0:3}"
}

# wait_until SECONDS ALIVE READY: prints dots until READY succeeds. It fails when the time is over or ALIVE fails, so
# that a process which died immediately does not cost the whole wait.
wait_until() {
    local limit=$1 alive=$2 ready=$3 begin=$SECONDS dots=0
    while ! "$ready"; do
        if ! "$alive" || ((SECONDS - begin >= limit)); then
            printf '\n'
            return 1
        fi
        sleep 0.2
        if ((SECONDS - begin > dots)); then
            dots=$((SECONDS - begin))
            printf '.'
        fi
    done
    printf ' ready (%s s)\n' "$((SECONDS - begin))"
}

# Everything that we start has ORDERFLOW_INSTANCE in its environment. A pid file alone proves nothing: after a reboot,
# or in a copied directory, its number belongs to another process.
INSTANCE_MARK=ORDERFLOW_INSTANCE=$DEV

# Servers of a version that RABBITMQ or POSTGRES names have a separate directory, with data, ports, passwords and logs:
# an older server cannot read a newer one's files.
use_versions() {
    local versions=${RABBITMQ:+-rabbitmq-$RABBITMQ}${POSTGRES:+-postgres-$POSTGRES}
    DEV=$ROOT/.dev${versions:+/on$versions}
    INSTANCE_MARK=ORDERFLOW_INSTANCE=$DEV
}

is_own() { grep -qzxF -- "$INSTANCE_MARK" "/proc/$1/environ" 2>/dev/null; }

# own_pid FILE: prints the pid in the first line of FILE if that process is alive and ours; else it fails.
own_pid() {
    local pid
    pid=$(head -n 1 "$1" 2>/dev/null) && [ -n "$pid" ] && is_own "$pid" || return 1
    printf '%s\n' "$pid"
}

# stop_own FILE SECONDS: terminates the process of FILE and waits for it; fails if it does not end.
stop_own() {
    local pid deadline=$((SECONDS + $2))
    if pid=$(own_pid "$1"); then
        kill -TERM "$pid" 2>/dev/null || true
        while is_own "$pid"; do
            ((SECONDS < deadline)) || return 1
            sleep 0.1
        done
    fi
    rm -f "$1"
}

# Reads .dev/env literally: its values are data, which a shell must not expand.
load_env() {
    local line
    while IFS= read -r line; do
        case $line in
        '' | '#'*) ;;
        *) export "${line%%=*}=${line#*=}" ;;
        esac
    done <"$DEV/env"
}

# Runs (tests, demo) share the services under a shared lock on descriptor 8. The last run stops them, unless they were
# started with `make services`. The kernel releases the lock of a run that dies. Children must not inherit the
# descriptor (8>&-), or a leaked one would hold the lock forever.
use_services() {
    use_versions
    mkdir -p "$DEV"
    exec 8>"$DEV/in-use.lock"
    flock -s 8
    "$ROOT/scripts/services.sh" up --for-run 8>&-
    load_env
}

release_services() {
    { true >&8; } 2>/dev/null || return 0
    flock -u 8
    if flock -n -x 8 && [ -e "$DEV/state/started-by-a-run" ]; then
        "$ROOT/scripts/services.sh" down 8>&-
    fi
    exec 8>&-
}

need_cargo() {
    command -v cargo >/dev/null ||
        die "cargo is not on the PATH: install Rust (1.90 or later) and try again."
}

# Prints cargo's target directory, which CARGO_TARGET_DIR or a config file may have moved.
target_dir() {
    cargo metadata --format-version 1 --no-deps --manifest-path "$ROOT/Cargo.toml" |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
