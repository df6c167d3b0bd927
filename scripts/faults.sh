#!/usr/bin/env bash
# A fault run on its own servers, chosen by SEED, MINUTES and FAULTS; see `orderflow-faults run --help`.
#
#   SEED=7 MINUTES=5 FAULTS=kill,cut scripts/faults.sh [ARGUMENT...]
#   MINUTES=25 FAULTS=only-worker-away scripts/faults.sh    stops a service for 20 minutes
#   RABBITMQ=4.3 POSTGRES=18 scripts/faults.sh              against servers of a newer Debian, below .dev/: see debian.sh
#   PROFILE=faults scripts/faults.sh                        with optimised programs
#
# The result is kept in faults/results/, with the commit, or in the file that RESULTS names.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/debian.sh
. "$HERE/debian.sh"

need_cargo
need_command cc gcc libc6-dev
RABBITMQ_IN=$(debian_with_rabbitmq)
POSTGRES_IN=$(debian_with_postgres)
env -u RABBITMQ -u POSTGRES "$HERE/services.sh" install
# A library, not a command: it gives a process another time of day.
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || install_packages libfaketime

need_debian "$RABBITMQ_IN"
need_debian "$POSTGRES_IN"
[ -z "$RABBITMQ_IN" ] || set -- --rabbitmq "$(debian_root "$RABBITMQ_IN")" "$@"
[ -z "$POSTGRES_IN" ] || set -- --postgres "$(debian_root "$POSTGRES_IN")" "$@"

cd "$ROOT"
PROFILE=${PROFILE:-dev}
# Builds every program, because the run starts them. crates/service/build.rs refuses an optimised build with faults
# otherwise.
ORDERFLOW_FAULTS_BUILD=1 cargo build --workspace --bins --profile "$PROFILE"

SEED=${SEED:-$RANDOM}
COMMIT=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
RESULTS=${RESULTS:-faults/results/$COMMIT-rabbitmq${RABBITMQ:-3.10}${POSTGRES:+-postgres$POSTGRES}-seed-$SEED.json}
mkdir -p "${RESULTS%/*}"
set -- --seed "$SEED" --seconds "$((${MINUTES:-2} * 60))" --commit "$COMMIT" --results "$RESULTS" ${FAULTS:+--faults "$FAULTS"} "$@"
exec "$(target_dir)/${PROFILE/dev/debug}/orderflow-faults" run "$@"
