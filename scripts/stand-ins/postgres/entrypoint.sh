#!/usr/bin/env bash
# Initialises an empty data directory as the official image does, then starts the server.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Several arguments in one variable, as in the official image.
    # shellcheck disable=SC2086
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s' "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Without TCP, so that the health check does not take this server for the real one.
    pg_ctl --options="-c listen_addresses=''" --wait start
    createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --mode=fast --wait stop
fi
exec "$@" -c listen_addresses='*'
