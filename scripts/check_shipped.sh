#!/usr/bin/env bash
# Builds the programs as docs/INSTALLING.md says, and searches them for the switches of crates/service/src/fault.rs:
# only this reveals a feature that another package has enabled. With --release it checks exactly the programs that a
# shop runs.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

# A test searches for these in programs that have them.
SWITCHES='ORDERFLOW_CRASH|ORDERFLOW_WITHOUT|ORDERFLOW_NOTE_APPLIED'

need_cargo
cd "$ROOT"
PROFILE=debug
if [ "${1:-}" = --release ]; then PROFILE=release; fi
cargo build --quiet ${1:+"$1"}
# An optimised build names its commit, a development build does not (crates/service/build.rs).
BUILD='development build'
if [ "$PROFILE" = release ]; then BUILD=$(git rev-parse --short=12 HEAD 2>/dev/null) || BUILD='unknown commit'; fi

for program in orderflow orderflow-worker; do
    path=$(target_dir)/$PROFILE/$program
    # This is in every build; it proves that the search works.
    grep --quiet --text DATABASE_URL "$path" || die "$path is not one of our programs."
    if grep --quiet --text --extended-regexp "$SWITCHES" "$path"; then
        die "$path can inject faults: it was built with the feature fault-injection."
    fi
    shown=$("$path" --version)
    case $shown in
    "$program "*" ($BUILD"*) ;;
    *) die "$path --version prints '$shown', which does not name its build: $BUILD" ;;
    esac
done
say "what ships ($PROFILE) cannot inject faults"
