# shellcheck shell=bash
# Installs Python packages below .dev/tools. It is sourced after lib.sh, never run.

# python_tools NAME LIST [SCRIPT]: installs the packages of LIST, with its versions, as .dev/tools/NAME, runs SCRIPT
# there once for slow preparations, and repeats both when LIST or SCRIPT changes. The marker is written last, so that a
# partial installation does not count. Fails if the packages cannot be installed; the log says why.
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
