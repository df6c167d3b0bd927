#!/usr/bin/env bash
# Checks docker-compose.yml against the compose specification and lints the Dockerfile. It needs no container engine:
# the tools are Python packages, installed below .dev/tools, with versions fixed in check_containers.txt.
# If they cannot be installed it says so and succeeds, since that says nothing about the files.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/python_tools.sh
. "$HERE/python_tools.sh"

TOOLS=$DEV/tools/containers

cd "$ROOT"
if ! python_tools containers "$HERE/check_containers.txt"; then
    say "docker-compose.yml, Dockerfile: not checked (their tools cannot be installed; see $DEV/log/containers-tools.log)"
    exit 0
fi
"$TOOLS/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
"$TOOLS/bin/hadolint" Dockerfile
# Where Docker is installed, it also resolves variables, anchors and dependencies. The passwords do not matter.
if docker compose version >/dev/null 2>&1; then
    mapfile -t needed < <(sed -n 's/.*${\([A-Z0-9_]*\):?.*/\1=x/p' docker-compose.yml | sort -u)
    env "${needed[@]}" docker compose --profile '*' config --quiet
fi
