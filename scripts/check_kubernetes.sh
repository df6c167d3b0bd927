#!/usr/bin/env bash
# Checks deploy/kubernetes against the schemas of Kubernetes and KEDA, in which an unknown field is a mistake. It needs no
# cluster: the schemas are in Python packages, installed below .dev/tools, with versions fixed in check_kubernetes.txt.
# Where they cannot be had it says so, and that is no failure: it tells nothing about the files.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"
# shellcheck source=scripts/python_tools.sh
. "$HERE/python_tools.sh"

TOOLS=$DEV/tools/kubernetes

if ! python_tools kubernetes "$HERE/check_kubernetes.txt" "$HERE/check_kubernetes_keda.py"; then
    say "deploy/kubernetes: not checked (its tools cannot be installed; see $DEV/log/kubernetes-tools.log)"
    exit 0
fi
"$TOOLS/bin/python" "$HERE/check_kubernetes.py" "$ROOT/deploy/kubernetes" "$TOOLS"
# Where kubectl is there, its kustomize also puts the files together.
if kubectl version --client >/dev/null 2>&1; then
    for part in base scaling; do
        kubectl kustomize "$ROOT/deploy/kubernetes/$part" >/dev/null
    done
fi
