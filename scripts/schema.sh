#!/usr/bin/env bash
# Writes the files that diesel.toml names from a freshly migrated database, by diesel's own command, which is
# installed below .dev/tools where it is missing. `make test` fails while a file is out of date.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

# The version of diesel in Cargo.lock.
DIESEL_CLI=2.3.14

need_cargo
need_command cc gcc libc6-dev
cd "$ROOT"
trap release_services EXIT
use_services
if ! [ -x .dev/tools/bin/diesel ]; then
    need_command pg_config libpq-dev
    cargo install diesel_cli --version "$DIESEL_CLI" --locked --root .dev/tools \
        --no-default-features --features postgres 8>&-
fi
# A database of its own, whatever is in the usual one. Its set-up migrates it and writes the files.
url="${DATABASE_URL%/*}/orderflow_schema"
DATABASE_URL=$url .dev/tools/bin/diesel database reset
DATABASE_URL=$url .dev/tools/bin/diesel database drop
# A reset writes diesel's own first migration beside ours, which need none of it.
rm -rf migrations/00000000000000_diesel_initial_setup
cargo fmt --all 8>&-
