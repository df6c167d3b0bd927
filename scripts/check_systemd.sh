#!/usr/bin/env bash
# Has systemd read deploy/systemd, as it would on a machine: what it does not know or cannot find is a mistake, and so is a program
# that may do more than it needs. It needs no running systemd. Where there is none, or an older one, it says so, and that is no
# failure: it tells nothing about the files.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

# The first that reads units offline (--offline, --threshold) and knows all that the units name; docs/INSTALLING.md says so too.
OLDEST=250

# "Exposure" in tenths of systemd's ten points, of a program that needs a network and nothing else: 13 with systemd 252, and other
# versions weigh a little differently. A line that is forgotten costs 1 to 4.
MOST=14

version=$(systemd-analyze --version 2>/dev/null | sed -n 's/^systemd \([0-9]*\).*/\1/p')
if [ "${version:-0}" -lt "$OLDEST" ]; then
    say "deploy/systemd: not checked (it takes systemd $OLDEST or newer)"
    exit 0
fi

# A root of its own, with the units of this machine beside ours, and programs for it to find.
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
    die "a program may do too much: $(grep Overall "$FAKE/report")"
say "deploy/systemd: ${#services[@]} units, as systemd $version reads them"
