#!/usr/bin/env bash
# Checks deploy/kubernetes against the schemas of Kubernetes and KEDA, in which an unknown field is a mistake. It needs
# no cluster: the schemas are in Python packages, installed below .dev/tools, with versions fixed in
# check_kubernetes.txt. If they cannot be installed it says so and succeeds, since that says nothing about the files.
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
# Where kubectl is installed, its kustomize also combines the files.
if kubectl version --client >/dev/null 2>&1; then
    for part in base scaling; do
        kubectl kustomize "$ROOT/deploy/kubernetes/$part" >/dev/null
    done
    # Apply each of the TLS patches in docs/INSTALLING.md to our manifests, and check the result.
    over=$(mktemp -d)
    trap 'rm -rf "$over"' EXIT
    mkdir "$over/base" "$over/made"
    cp "$ROOT"/deploy/kubernetes/base/* "$over/base/"
    awk -v over="$over" '
        /^ *```yaml$/ { block++; match($0, /^ */); cut = RLENGTH; inside = 1; next }
        /^ *```$/ { inside = 0 }
        inside { print substr($0, cut + 1) > (over "/patches." block) }
    ' "$ROOT/docs/INSTALLING.md"
    for patches in "$over"/patches.*; do
        part=$over/over.${patches##*.}
        mkdir "$part"
        cp -r "$over/base" "$part/base"
        { printf 'resources: [base]\n' && cat "$patches"; } >"$part/kustomization.yaml"
        kubectl kustomize "$part" >"$over/made/${patches##*.}.yaml"
    done
    "$TOOLS/bin/python" "$HERE/check_kubernetes.py" "$over/made" "$TOOLS"
fi
