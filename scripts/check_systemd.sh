#!/usr/bin/env bash
# Lets systemd verify deploy/systemd, as it would on a machine: unknown options and missing files are mistakes, and so
# is a program with more privileges than it needs. It needs no running systemd. Where systemd is missing or too old, it
# says so and succeeds, since that says nothing about the files.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

# The first version that checks units offline (--offline, --threshold) and knows all their options; see
# docs/INSTALLING.md.
OLDEST=250

# systemd's "exposure" in tenths of a point, for a program that needs only a network: 13 with systemd 252; other
# versions weigh a little differently. A missing line costs 1 to 4.
MOST=14

version=$(systemd-analyze --version 2>/dev/null | sed -n 's/^systemd \([0-9]*\).*/\1/p')
if [ "${version:-0}" -lt "$OLDEST" ]; then
    say "deploy/systemd: not checked (needs systemd $OLDEST or newer)"
    exit 0
fi

# A separate root with this machine's units, ours, and empty programs.
FAKE=$(mktemp -d)
trap 'rm -rf "$FAKE"' EXIT
mkdir -p "$FAKE/etc/systemd/system" "$FAKE/usr/local/bin" "$FAKE/lib/systemd"
cp -r "$ROOT/deploy/systemd/." "$FAKE/etc/systemd/system/"
cp -r /lib/systemd/system "$FAKE/lib/systemd/"
for program in orderflow orderflow-worker; do
    install -m 755 /dev/null "$FAKE/usr/local/bin/$program"
done

mapfile -t services < <(printf 'orderflow-worker@%s.service\n' "${SERVICES[@]}")
services+=(orderflow-shop.service orderflow-console.service orderflow-setup.service orderflow-audit.service)
for unit in "${services[@]}" orderflow-audit.timer orderflow.target; do
    found=$(systemd-analyze verify --root="$FAKE" --man=no "$unit" 2>&1) || die "$unit: $found"
    [ -z "$found" ] || die "$unit: $found"
done
systemd-analyze security --offline=true --root="$FAKE" --threshold="$MOST" --no-pager "${services[@]}" >"$FAKE/report" ||
    die "a program has too many privileges: $(grep Overall "$FAKE/report")"
say "deploy/systemd: ${#services[@]} units are valid for systemd $version"
