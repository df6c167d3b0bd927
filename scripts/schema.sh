#!/usr/bin/env bash
# Writes the files that diesel.toml names from a freshly migrated database, with diesel's own command, which is
# installed below .dev/tools if missing. `make test` fails while a file is out of date. None of our code is compiled for
# this: a new service does not compile before its file exists.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

# The version of diesel in Cargo.lock.
DIESEL_CLI=2.3.14

# Prints a section for every service with tables: the folder has the schema's name.
sections() {
    local folder schema
    for folder in workers/src/services/*; do
        [ -d "$folder/migrations" ] || [ -e "$folder/schema.rs" ] || continue
        schema=$(basename "$folder")
        printf '[print_schema.%s]\nfile = "%s/schema.rs"\nschema = "%s"\n\n' "$schema" "$folder" "$schema"
    done
}

# Runs the services' migrations as `orderflow migrate` does: each in its own schema, which has its own list.
migrate_services() {
    local folder schema
    for folder in workers/src/services/*/migrations; do
        [ -d "$folder" ] || continue
        schema=$(basename "$(dirname "$folder")")
        psql --quiet --set ON_ERROR_STOP=1 --command "SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS $schema" "$url"
        DATABASE_URL="$url?options=-csearch_path%3D$schema" .dev/tools/bin/diesel migration run --migration-dir "$folder"
    done
}

need_cargo
need_command cc gcc libc6-dev
need_command psql postgresql-client
cd "$ROOT"
trap release_services EXIT
use_services
if ! [ -x .dev/tools/bin/diesel ]; then
    need_command pg_config libpq-dev
    cargo install diesel_cli --version "$DIESEL_CLI" --locked --root .dev/tools \
        --no-default-features --features postgres 8>&-
fi
{
    sed '/^# generated: services$/q' diesel.toml
    sections
    echo '# end'
} >diesel.toml.new
mv diesel.toml.new diesel.toml
# A separate database, independent of the usual one. Its set-up and each migration write the files.
url="${DATABASE_URL%/*}/orderflow_schema"
DATABASE_URL=$url .dev/tools/bin/diesel database reset
migrate_services
DATABASE_URL=$url .dev/tools/bin/diesel database drop
# A reset adds diesel's own first migration, which ours do not need.
rm -rf migrations/00000000000000_diesel_initial_setup
git ls-files -z --cached --others --exclude-standard '*/schema*.rs' '*/schema/*.rs' | xargs -0 rustfmt --edition 2024
