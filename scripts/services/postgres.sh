# shellcheck shell=bash
# The private PostgreSQL. Sourced by services.sh.

# Resolved, because PostgreSQL's user may be unable to follow the link: see postgres_directory.
PG=$(readlink -m "$DEV/postgres")
# The Debian whose PostgreSQL is used; empty: this machine's.
POSTGRES_IN=$(debian_with_postgres)
POSTGRES_ROOT=${POSTGRES_IN:+$(debian_root "$POSTGRES_IN")}

# Prints the directory of the server's programs: of the version that created the data, else the newest.
postgres_bin() {
    local version
    version=$(cat "$PG/data/PG_VERSION" 2>/dev/null || true)
    find "$POSTGRES_ROOT/usr/lib/postgresql" -path "*/${version:-*}/bin/pg_ctl" 2>/dev/null |
        sort -V | tail -n 1 | sed "s|^$POSTGRES_ROOT||; s|/pg_ctl$||"
}

# with_postgres COMMAND...: runs it where PostgreSQL's programs are.
with_postgres() {
    if [ -n "$POSTGRES_ROOT" ]; then
        "$HERE/in-debian.sh" "$POSTGRES_ROOT" "$DEV" "$@"
    else
        "$@"
    fi
}

# PostgreSQL refuses to run as root, so root runs it as the package's own user. Changes the directory, because that user
# may not enter the caller's.
as_postgres() (
    cd /
    if [ -n "$POSTGRES_ROOT" ]; then
        exec "$HERE/in-debian.sh" "$POSTGRES_ROOT" "$DEV" --user postgres "$@"
    fi
    if [ "$(id -u)" = 0 ]; then
        exec runuser -u postgres -- "$@"
    fi
    exec "$@"
)

# Runs psql as the superuser. A clean environment, because PGOPTIONS and similar variables would change the session.
superuser_psql() {
    with_postgres env -i "PGPASSWORD=$(secret postgres-superuser-password)" "PGCONNECT_TIMEOUT=5" \
        "$(postgres_bin)/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(port postgres-port)" -U postgres "$@"
}

postgres_runs() { own_pid "$PG/data/postmaster.pid" >/dev/null; }

postgres_answers() { superuser_psql -d postgres -c 'SELECT 1' >/dev/null 2>&1; }

postgres_up() {
    if own_database; then
        say "PostgreSQL: using DATABASE_URL, which is set"
        return
    fi
    if postgres_runs && postgres_answers; then
        say "PostgreSQL: already running on 127.0.0.1:$(port postgres-port)"
    else
        postgres_start
    fi
    postgres_database
}

postgres_start() {
    [ -n "$(postgres_bin)" ] ||
        die "The data in $PG was made by PostgreSQL $(cat "$PG/data/PG_VERSION"), which is no longer installed: install it, or delete $DEV to start from scratch."
    [ -d "$PG/data" ] || postgres_create
    POSTGRES_STARTER=
    if ! postgres_runs; then
        free_the_port postgres-port PostgreSQL
        postgres_configure
        postgres_spawn >"$DEV/log/pg_ctl.log" 2>&1 8>&- 9>&- &
        POSTGRES_STARTER=$!
    fi
    printf 'PostgreSQL %s: starting on 127.0.0.1:%s ' "$(cat "$PG/data/PG_VERSION")" "$(port postgres-port)"
    wait_until 90 postgres_starts postgres_answers ||
        fail_with_log "PostgreSQL ended while it started, or was not ready within 90 s." "$PG/log"
}

# Descriptors 8 and 9 are our locks, which a daemon would hold forever.
postgres_spawn() {
    local pid tries
    pid=$(head -n 1 "$PG/data/postmaster.pid" 2>/dev/null || echo none)
    # A killed server stays a zombie until the machine's init has reaped it, and PostgreSQL takes any process with that
    # number for a running server.
    for ((tries = 0; tries < 100; tries++)); do
        grep -qs '^State:.Z' "/proc/$pid/status" || break
        sleep 0.2
    done
    as_postgres env "$INSTANCE_MARK" "$(postgres_bin)/pg_ctl" -D "$PG/data" start -w -t 90 -s -l "$PG/log"
}

# The start command counts too: until the server has written its pid, nothing else shows that it runs.
postgres_starts() {
    if [ -n "$POSTGRES_STARTER" ] && kill -0 "$POSTGRES_STARTER" 2>/dev/null; then
        return
    fi
    postgres_runs
}

# Created under another name and then renamed, so that an interrupted run leaves no partial data.
postgres_create() {
    local log=$DEV/log/initdb.log
    say "PostgreSQL: creating the database cluster"
    [ -d "$PG" ] || postgres_directory
    as_postgres rm -rf "$PG/data.new"
    # initdb reads the password from a file, which must belong to that user.
    secret postgres-superuser-password | postgres_file pwfile
    as_postgres "$(postgres_bin)/initdb" -D "$PG/data.new" -U postgres --auth=scram-sha-256 \
        --pwfile="$PG/pwfile" --encoding=UTF8 --locale=C.UTF-8 >"$log" 2>&1 ||
        fail_with_log "initdb could not create the database cluster." "$log"
    as_postgres rm -f "$PG/pwfile"
    echo "include 'orderflow.conf'" | postgres_file data.new/postgresql.conf --append
    as_postgres mv "$PG/data.new" "$PG/data"
}

# postgres_file NAME [--append]: writes standard input to a file that belongs to PostgreSQL's user.
postgres_file() { as_postgres tee "${@:2}" -- "$PG/$1" >/dev/null; }

# For root the data belongs to the user postgres, who may be unable to reach this directory (a clone below /root): then
# it is below /var/tmp, with a link to it.
postgres_directory() {
    PG=$DEV/postgres
    rm -f "$PG"
    if [ "$(id -u)" != 0 ]; then
        mkdir -m 700 "$PG"
        return
    fi
    if ! as_postgres test -x "$DEV"; then
        PG=$(mktemp -d /var/tmp/orderflow-postgres.XXXXXXXX)
        say "PostgreSQL: its user cannot enter $DEV, so the data is kept in $PG"
        ln -s "$PG" "$DEV/postgres"
    fi
    with_postgres install -d -m 700 -o postgres -g postgres "$PG"
}

postgres_configure() {
    postgres_file data/orderflow.conf <<CONF
# Written by scripts/services.sh at every start.
listen_addresses = '127.0.0.1'
port = $(port postgres-port)
# A socket directory would have to be writable for this user and short enough; only TCP is used.
unix_socket_directories = ''
# Shown by ps, to distinguish the instances of two checkouts.
cluster_name = 'orderflow-$(checkout_hash)'
# Tests run in parallel, each with its own database and connection pools.
max_connections = 400
shared_buffers = 256MB
# With the default of 1 GB a benchmark would measure checkpoints.
max_wal_size = 4GB
# Durable, as in production: without it neither the fault tests nor the figures would mean anything.
fsync = on
synchronous_commit = on
full_page_writes = on
# Lock waits are the first thing to check when a test is slow.
log_lock_waits = on
log_line_prefix = '%m [%p] %q%u@%d %a '
log_timezone = 'UTC'
timezone = 'UTC'
CONF
}

# Idempotent. Afterwards the role has the stored password, whatever was changed by hand.
postgres_database() {
    local log=$DEV/log/psql.log
    superuser_psql -d postgres >"$log" 2>&1 <<SQL || fail_with_log "The role or the database could not be created." "$log"
SELECT 'CREATE ROLE orderflow' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderflow') \gexec
ALTER ROLE orderflow LOGIN CREATEDB CREATEROLE PASSWORD '$(secret postgres-password)';
SELECT 'CREATE DATABASE orderflow OWNER orderflow' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'orderflow') \gexec
SQL
}

postgres_down() {
    postgres_runs || return 0
    as_postgres "$(postgres_bin)/pg_ctl" -D "$PG/data" stop -m fast -w -t 60 -s || fail_with_log "PostgreSQL did not stop within 60 s." "$PG/log"
    say "PostgreSQL: stopped"
}
