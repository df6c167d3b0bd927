#!/usr/bin/env bash
# A fault run on servers of its own: SEED, MINUTES and FAULTS say which; see `orderflow-faults run --help`.
#
#   SEED=7 MINUTES=5 FAULTS=kill,cut scripts/faults.sh [ARGUMENT...]
#
# The result is kept in faults/results/, with the commit.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

need_cargo
need_command cc gcc libc6-dev
"$HERE/services.sh" install
cd "$ROOT"
# With every program, because the run starts them.
cargo build --workspace --bins

SEED=${SEED:-$RANDOM}
RESULTS=faults/results/$(git rev-parse --short HEAD 2>/dev/null || echo unknown)-seed-$SEED.json
mkdir -p faults/results
set -- --seed "$SEED" --seconds "$((${MINUTES:-2} * 60))" --results "$RESULTS" ${FAULTS:+--faults "$FAULTS"} "$@"
exec "$(target_dir)/debug/orderflow-faults" run "$@"
