#!/usr/bin/env bash
# Makes the pictures of docs/PAGES.md, as the browser now shows pages and mails, in docs/pictures/.
#
# The browser tests make them, so a page that violates an accessibility rule gets no new picture.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

need_cargo
need_command cc gcc libc6-dev
need_command pngquant pngquant
"$HERE/browser.sh" --full
cd "$ROOT"
trap release_services EXIT
use_services

export PICTURES=$DEV/pictures
rm -rf "$PICTURES"
mkdir -p "$PICTURES"
cargo build --workspace --all-targets 8>&-
cargo test --package orderflow-tests --test system -- --include-ignored --test-threads 2 'in_pictures' 8>&-
# Pages have few colours: a palette reduces the files to a third.
pngquant --force --ext .png --skip-if-larger --strip --speed 1 112 -- "$PICTURES"/*.png ||
    say "some pictures are kept unchanged"
cp "$PICTURES"/*.png docs/pictures/
say "pictures: $(find "$PICTURES" -name '*.png' | wc -l), the largest has $(stat -c %s "$PICTURES"/*.png | sort -n | tail -n 1) bytes"
