#!/usr/bin/env bash
# Builds the programs of the oldest version that can run beside this one, as CHANGELOG.md names it, into
# .dev/versions/COMMIT/.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

need_cargo
need_command cc gcc libc6-dev
cd "$ROOT"
COMMIT=$(sed -n 's/^- \*\*Since \([0-9a-f]\{7,40\}\) .*/\1/p' CHANGELOG.md | head -n 1)
[ -n "$COMMIT" ] || die "CHANGELOG.md names no compatible version: it needs a line '- **Since COMMIT …'."
KEPT=$DEV/versions/$COMMIT
[ ! -x "$KEPT/orderflow-worker" ] || exit 0
git cat-file -e "$COMMIT^{commit}" 2>/dev/null ||
    die "The commit $COMMIT of CHANGELOG.md is not in this clone: fetch the whole history with 'git fetch --unshallow'."

SOURCE=$DEV/versions/source
rm -rf "$SOURCE"
mkdir -p "$SOURCE" "$KEPT"
git archive "$COMMIT" | tar -x -C "$SOURCE"
say "building the version of $COMMIT"
(cd "$SOURCE" && cargo build --locked --package orderflow --package orderflow-worker --target-dir "$DEV/versions/target")
cp "$DEV/versions/target/debug/orderflow" "$DEV/versions/target/debug/orderflow-worker" "$KEPT/"
rm -rf "$SOURCE" "$DEV/versions/target"
