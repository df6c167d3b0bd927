#!/usr/bin/env bash
# Runs the benchmark with optimised programs, into bench/out/. Arguments go to the benchmark; QUICK=1 is one short
# round.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

need_cargo
need_command cc gcc libc6-dev
need_command wrk wrk
cd "$ROOT"
mkdir -p bench/out
if [ "${QUICK:-}" = 1 ]; then
    set -- --quick "$@"
fi
trap release_services EXIT
use_services
# Also builds the programs, which the benchmark starts as in production.
cargo build --release --package orderflow --package orderflow-worker --package loyalty --package orderflow-bench 8>&-
"$(target_dir)/release/orderflow-bench" "$@" 8>&-
