#!/usr/bin/env bash
# Runs a command in another Debian, as root or as a user of that Debian.
#
#   in-debian.sh DEBIAN DIRECTORY [--user NAME] COMMAND...
#
# The command sees DIRECTORY at its own path, and this machine's processes and devices. The mounts are private to the
# command and end with it, however it ends.
set -euo pipefail

DEBIAN=$1 DIRECTORY=$2
shift 2
AS=()
if [ "$1" = --user ]; then
    # By number: this machine's user names may have other numbers.
    IDS=$(sed -n "s/^$2:[^:]*:\([0-9]*:[0-9]*\):.*/\1/p" "$DEBIAN/etc/passwd")
    AS=(--userspec "${IDS:?$DEBIAN has no user $2}")
    shift 2
fi
# The usual umask: the command's user must be able to enter.
(umask 022 && mkdir -p "$DEBIAN$DIRECTORY")
# shellcheck disable=SC2016 # The inner shell expands them.
exec unshare --mount --propagation private bash -euc '
    root=$1 directory=$2
    shift 2
    mount --rbind "$directory" "$root$directory"
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    cd "$root"
    exec chroot "$@"
' - "$DEBIAN" "$DIRECTORY" "${AS[@]}" "$DEBIAN" "$@"
