# shellcheck shell=bash
# Installs Node packages below .dev/tools. It is sourced after lib.sh and install.sh, never run.

# node_tools NAME DIRECTORY: installs DIRECTORY's package-lock.json, with its checksums, as .dev/tools/NAME, and again
# when it changes. The marker is written last, so that a partial installation does not count. No install scripts run.
# Fails if the packages cannot be installed; the log says why.
node_tools() {
    local tools=$DEV/tools/$1 wanted
    wanted=$(cat "$2/package.json" "$2/package-lock.json" "$2/.npmrc")
    [ "$wanted" != "$(cat "$tools/installed.txt" 2>/dev/null)" ] || return 0
    need_command npm npm
    rm -rf "$tools"
    mkdir -p "$tools" "$DEV/log"
    say "installing $1 (the log is $DEV/log/$1-tools.log)"
    {
        cp "$2/package.json" "$2/package-lock.json" "$2/.npmrc" "$tools" &&
            npm --prefix "$tools" --cache "$tools/cache" ci --ignore-scripts --omit=dev &&
            rm -rf "$tools/cache" &&
            printf '%s\n' "$wanted" >"$tools/installed.txt"
    } >"$DEV/log/$1-tools.log" 2>&1
}
