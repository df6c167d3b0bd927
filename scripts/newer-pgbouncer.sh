#!/usr/bin/env bash
# Runs Debian 13's PgBouncer (debian.sh) instead of this machine's: newer-pgbouncer.sh CONFIGURATION [ARGUMENT...]
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
exec "$HERE/in-debian.sh" "$HERE/../.dev/debian-trixie" "$(dirname "$1")" /usr/sbin/pgbouncer "$@"
