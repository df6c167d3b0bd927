# shellcheck shell=bash
# Checkers that are Python packages, below .dev/tools. It is sourced after lib.sh, never run.

# python_tools NAME LIST [SCRIPT]: installs what LIST names, with its versions, as .dev/tools/NAME, and lets SCRIPT make
# there whatever takes long to make, once. Anew when either has changed; what says so is written last, so that half an
# installation does not count. Fails where it cannot be had; the log says why.
python_tools() {
    local tools=$DEV/tools/$1 wanted
    wanted=$(cat "${@:2}")
    [ "$wanted" != "$(cat "$tools/installed.txt" 2>/dev/null)" ] || return 0
    rm -rf "$tools"
    mkdir -p "$DEV/log"
    {
        python3 -m venv "$tools" &&
            "$tools/bin/pip" install --disable-pip-version-check --no-deps --only-binary :all: --requirement "$2" &&
            { [ -z "${3:-}" ] || "$tools/bin/python" "$3" "$tools"; } &&
            printf '%s\n' "$wanted" >"$tools/installed.txt"
    } >"$DEV/log/$1-tools.log" 2>&1
}
