#!/usr/bin/env bash
# Checks the sources, without running services.
# Runs all checks, so that one run names everything to fix.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/install.sh
. "$HERE/install.sh"

FAILED=()

# check NAME COMMAND...
check() {
    local begin=$SECONDS
    say "== $1"
    if "${@:2}"; then
        say "$1: ok ($((SECONDS - begin)) s)"
    else
        say "$1: FAILED ($((SECONDS - begin)) s)"
        FAILED+=("$1")
    fi
}

# Every file by name: rustfmt does not follow `mod` lines from a macro, as in the list of services.
format() {
    git ls-files -z --cached --others --exclude-standard '*.rs' | xargs -0 rustfmt --check --edition 2024
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace; }

# The phrases that docs/STYLE.md refuses. Migrations and the change log are history.
style() {
    if git grep --untracked -nIiEf scripts/avoided-phrases.txt -- . ':!migrations' ':!CHANGELOG.md' ':!docs/STYLE.md' \
        ':!scripts/avoided-phrases.txt' ':!*.lock' ':!*-lock.json'; then
        say "Rewrite these as docs/STYLE.md describes."
        return 1
    fi
}

scripts() {
    git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck -x
}

# The files that follow from the list of services.
generated() { cargo run --quiet --package orderflow-generate -- check; }

# The queries of the dashboards, with Grafana's variables filled in, as rules that promtool can check.
dashboards_as_rules() {
    python3 - monitoring/grafana/dashboards/*.json <<'PYTHON'
import json, sys
rules = []
for name in sys.argv[1:]:
    for panel in json.load(open(name, encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$queue", "a.queue")
            rules.append({"record": f"panel:{len(rules)}", "expr": query})
# JSON is YAML too.
print(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
PYTHON
}

alerts() {
    mkdir -p "$DEV"
    dashboards_as_rules >"$DEV/dashboards.yml" &&
        promtool check rules "$DEV/dashboards.yml" &&
        promtool check config monitoring/prometheus.yml &&
        promtool test rules monitoring/*_test.yml &&
        amtool check-config monitoring/alertmanager.yml
}

licences() {
    if ! command -v cargo-deny >/dev/null; then
        say "licences, bans: not checked (cargo-deny is not installed)"
        say "advisories: not checked"
        return
    fi
    check "licences, bans" cargo deny check licenses bans sources
    # The advisory database is remote: not reaching it says nothing about the sources.
    if cargo deny fetch db >/dev/null 2>&1; then
        check "advisories" cargo deny --offline check advisories
    else
        say "advisories: not checked"
    fi
}

need_cargo
need_command cc gcc libc6-dev
cd "$ROOT"
check "format" format
if command -v shellcheck >/dev/null; then
    check "shell scripts" scripts
else
    say "shell scripts: not checked (shellcheck is not installed)"
fi
if command -v promtool >/dev/null && command -v amtool >/dev/null && command -v python3 >/dev/null; then
    check "alerts and dashboards" alerts
else
    say "alerts: not checked (needs promtool, amtool and python3; the first two come with Debian's prometheus and prometheus-alertmanager)"
fi
check "style" style
check "containers" scripts/check_containers.sh
check "kubernetes" scripts/check_kubernetes.sh
check "systemd" scripts/check_systemd.sh
check "lints" cargo clippy --workspace --all-targets -- -D warnings
check "documentation" documentation
check "documentation tests" cargo test --workspace --doc --quiet
check "generated files" generated
check "what ships" scripts/check_shipped.sh
licences

[ "${#FAILED[@]}" = 0 ] || die "check: failed: $(printf '%s; ' "${FAILED[@]}" | sed 's/; $//')"
say "check: ok"
