#!/usr/bin/env bash
# Builds what ships as docs/INSTALLING.md says, and looks for the switches of crates/service/src/fault.rs in the programs: a feature that slipped in
# by another package's wish shows there and nowhere else. With --release the very programs that a shop runs.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

# A test looks for these in programs that have them.
SWITCHES='ORDERFLOW_CRASH|ORDERFLOW_WITHOUT|ORDERFLOW_NOTE_APPLIED'

need_cargo
cd "$ROOT"
PROFILE=debug
if [ "${1:-}" = --release ]; then PROFILE=release; fi
cargo build --quiet ${1:+"$1"}
# An optimised build names its commit, a build for development none (crates/service/build.rs).
BUILD='development build'
if [ "$PROFILE" = release ]; then BUILD=$(git rev-parse --short=12 HEAD 2>/dev/null) || BUILD='unknown commit'; fi

for program in orderflow orderflow-worker; do
    path=$(target_dir)/$PROFILE/$program
    # What is in every build: else a search that finds nothing would say nothing.
    grep --quiet --text DATABASE_URL "$path" || die "$path is not one of our programs."
    if grep --quiet --text --extended-regexp "$SWITCHES" "$path"; then
        die "$path has faults on request: it was built with the feature fault-injection."
    fi
    shown=$("$path" --version)
    case $shown in
    "$program "*" ($BUILD"*) ;;
    *) die "$path --version prints '$shown', which does not name its build: $BUILD" ;;
    esac
done
say "what ships ($PROFILE) has no faults on request"
