#!/usr/bin/env bash
# Installs Chromium and its driver from the distribution, axe-core and AsyncAPI's parser from npm, for the tests.
#
#   browser.sh [--full]
#
# --full adds maildev, the mail viewer of the long tests.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/node_tools.sh
. "$HERE/node_tools.sh"

# The registry may be unreachable. Then only the tests that need these packages fail.
tools() {
    node_tools "$1" "$2" ||
        say "$1 could not be installed, so the tests that need it will fail. Log file: $DEV/log/$1-tools.log"
}

install_browser
tools axe-core "$ROOT/tests/browser"
tools asyncapi "$ROOT/tests/asyncapi"
if [ "${1:-}" = --full ]; then
    tools maildev "$ROOT/scripts/maildev"
fi
