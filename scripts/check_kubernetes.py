"""check_kubernetes.py DIRECTORY TOOLS: is every manifest below DIRECTORY one that Kubernetes or KEDA would take?

Every document is held against the schemas of the oldest and of the newest Kubernetes that we say it is for, or against
KEDA's, and every kustomization has to name every file beside it. Each document's first mistake is told.

What the schemas do not say, only a cluster would find: the words that a field may have (`concurrencyPolicy: Never`), what a
trigger's metadata may name, or two fields that contradict each other.
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
    """What is wrong with a document, or None."""
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
    """What a kustomization forgets, or names and is not there."""
    listed = yaml.safe_load(file.read_text())
    unknown = set(listed) - {"apiVersion", "kind", "resources", "images"}
    if unknown:
        yield f"{file}: this check does not know {sorted(unknown)}"
    there = {other.name for other in file.parent.iterdir() if other != file}
    named = listed["resources"]
    for name in sorted(there.symmetric_difference(named)):
        yield f"{file}: {name} {'is not named' if name in there else 'is named and not there'}"
    if len(set(named)) != len(named):
        yield f"{file}: a file is named twice"


def mistakes(directory, tools):
    """The mistakes, a line each, and how many documents were looked at."""
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
    print(f"kubernetes: {documents} manifests hold against Kubernetes {' and '.join(VERSIONS)} and KEDA")


main()
