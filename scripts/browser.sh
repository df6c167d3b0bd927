#!/usr/bin/env bash
# Installs what the browser tests need: Chromium and its driver from the distribution, axe-core from npm; and AsyncAPI's parser.
#
#   browser.sh [--full]
#
# --full adds maildev, the mail program of the tests that take long.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"
# shellcheck source=scripts/node_tools.sh
. "$HERE/node_tools.sh"

# Somebody else's registry may be out of reach. The other tests can do without, so only those that need it fail.
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
