"""check_kubernetes.py DIRECTORY TOOLS: checks that Kubernetes or KEDA would accept every manifest below DIRECTORY.

Every document is validated against the schemas of the oldest and of the newest supported Kubernetes, or against KEDA's, and
every kustomization must name every file beside it. Reports the first mistake of each document.

Only a cluster would find what the schemas do not cover: a field's permitted values (`concurrencyPolicy: Never`), the names
in a trigger's metadata, or two fields that contradict each other.
"""

import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

# The oldest that README.md names, and the newest whose schemas the package has.
VERSIONS = ("1.30", "1.37")


def mistake(document, keda):
    """Returns the first mistake of a document, or None."""
    kind = (document.get("apiVersion"), document.get("kind"))
    try:
        if kind == ("keda.sh/v1alpha1", "ScaledObject"):
            wrong = jsonschema.exceptions.best_match(keda.iter_errors(document))
            if wrong:
                raise wrong
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    except jsonschema.ValidationError as error:
        place = ".".join(str(step) for step in error.absolute_path) or "at its top"
        return f"{place}: {error.message}"
    return None


def kustomization_mistakes(file):
    """Yields the files that a kustomization omits, or names although they do not exist."""
    listed = yaml.safe_load(file.read_text())
    unknown = set(listed) - {"apiVersion", "kind", "resources", "images"}
    if unknown:
        yield f"{file}: this check does not know {sorted(unknown)}"
    there = {other.name for other in file.parent.iterdir() if other != file}
    named = listed["resources"]
    for name in sorted(there.symmetric_difference(named)):
        yield f"{file}: {name} {'is not named' if name in there else 'is named and does not exist'}"
    if len(set(named)) != len(named):
        yield f"{file}: a file is named twice"


def mistakes(directory, tools):
    """Returns the mistakes, a line each, and the number of documents checked."""
    schema = json.loads((tools / "scaledobject.json").read_text())
    keda = jsonschema.Draft202012Validator(schema)
    found, documents = [], 0
    for file in sorted(directory.rglob("*.yaml")):
        if file.name == "kustomization.yaml":
            found.extend(kustomization_mistakes(file))
            continue
        for document in yaml.safe_load_all(file.read_text()):
            documents += 1
            wrong = mistake(document, keda)
            if wrong:
                found.append(f"{file}: {document.get('kind')}: {wrong}")
    return found, documents


def main():
    directory, tools = map(Path, sys.argv[1:])
    found, documents = mistakes(directory, tools)
    print(*found, sep="\n", end="\n" if found else "")
    if found or not documents:
        sys.exit(f"kubernetes: {len(found)} mistakes in {documents} manifests")
    print(f"kubernetes: {documents} manifests are valid for Kubernetes {' and '.join(VERSIONS)} and KEDA")


main()
