#!/usr/bin/env bash
# Measures a peer: measure.sh nestjs|faststream|dbos [ORDERS [SECONDS]]. Prints the result as JSON in the last line.
# Uses DATABASE_URL, AMQP_ADMIN_URL and RABBITMQ_MANAGEMENT_URL if set, otherwise this checkout's services.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/../../scripts/lib.sh"

if [ -z "${DATABASE_URL:-}" ]; then
    trap release_services EXIT
    use_services >&2
fi
python3 "$HERE/measure.py" "$@" 8>&-
