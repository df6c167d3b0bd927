#!/usr/bin/env bash
# Runs the tests on real services: running ones, else private ones that are stopped afterwards.
#
#   test.sh [--full] [ARGUMENT...]
#
# --full adds the tests marked `#[ignore]` because they take too long for every day.
# RABBITMQ=4.3 POSTGRES=18 (or 4, 17) runs them on these versions: see debian.sh.
# Arguments go to cargo nextest, or to cargo test if that is not installed.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/debian.sh
. "$HERE/debian.sh"
# shellcheck source=scripts/python_tools.sh
. "$HERE/python_tools.sh"

FULL=no
if [ "${1:-}" = --full ]; then
    FULL=yes
    shift
fi

need_cargo
need_command cc gcc libc6-dev
if [ "$FULL" = yes ]; then
    # Tests run the real Prometheus and Alertmanager, with the rules of monitoring/.
    install_monitoring
    install_pooler
    "$HERE/browser.sh" --full
else
    "$HERE/browser.sh"
fi
# It tests the API against its description. If it cannot be installed, only the tests that need it fail.
python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
python_tools schemathesis "$HERE/schemathesis.txt" ||
    say "schemathesis could not be installed, so the tests that need it will fail. Log file: $DEV/log/schemathesis-tools.log"
python_tools fraud-check "$ROOT/examples/fraud-check/requirements.txt" ||
    say "examples/fraud-check could not be installed, so its test will fail. Log file: $DEV/log/fraud-check-tools.log"
cd "$ROOT"
if [ "$FULL" = yes ] && [ "$(id -u)" = 0 ]; then
    # For tests on separate servers.
    need_debian trixie
    need_debian sid
    export NEWER_PGBOUNCER=$HERE/newer-pgbouncer.sh
fi
trap release_services EXIT
use_services

# Built first, so that the build's time does not count as a test's, and with every target, because the tests start the
# programs. Children must not inherit descriptor 8: see use_services.
cargo build --workspace --all-targets 8>&-

if [ "$FULL" = yes ]; then
    "$HERE/versions.sh" 8>&-
fi

# Generated input: the default is 256 cases of each kind.
if [ "$FULL" = yes ]; then
    export PROPTEST_CASES=20000
fi

if command -v cargo-nextest >/dev/null; then
    if [ "$FULL" = yes ]; then
        set -- --profile full --run-ignored all "$@"
    fi
    cargo nextest run --workspace "$@" 8>&-
elif [ "$FULL" = yes ]; then
    cargo test --workspace --all-targets "$@" -- --include-ignored 8>&-
else
    # Documentation tests belong to `make check`.
    cargo test --workspace --all-targets "$@" 8>&-
fi

# The programs that a shop runs, built as docs/INSTALLING.md says.
if [ "$FULL" = yes ]; then
    "$HERE/check_shipped.sh" --release 8>&-
fi

# The image and docker-compose.yml, where a Docker Engine can run.
if [ "$FULL" = yes ]; then
    "$HERE/containers.sh" --if-possible 8>&-
fi

# Checks that the benchmark works; no figure is asserted.
if [ "$FULL" = yes ]; then
    QUICK=1 "$HERE/bench.sh" 8>&-
fi

# Runs every fault, always in the same order, against each supported broker and database.
if [ "$FULL" = yes ]; then
    release_services
    export SEED=7 MINUTES=3
    RESULTS=$DEV/log/faults.json RABBITMQ='' POSTGRES='' scripts/faults.sh --rate 8 --examples
    RESULTS=$DEV/log/faults-4.json RABBITMQ=4 POSTGRES=17 scripts/faults.sh --rate 5 --nodes 3
    RESULTS=$DEV/log/faults-4.3.json RABBITMQ=4.3 POSTGRES=18 scripts/faults.sh --rate 8
fi
