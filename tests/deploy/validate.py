"""Checks Kubernetes objects (a JSON list of [where, object] on standard input) strictly against the schemas of each version named.

Kinds that Kubernetes does not bring are checked against the schemas in the directory that comes first: our own, of the fields
that the chart uses, written by the documentation of the Gateway API and the Prometheus Operator.
"""

import json
import pathlib
import sys

import jsonschema
import kubernetes_validate

resources, *versions = sys.argv[1:]
schemas = {path.stem: json.loads(path.read_text()) for path in pathlib.Path(resources).glob("*.json")}
problems, seen = [], 0
for where, document in json.load(sys.stdin):
    kind = document["kind"]
    what = f"{where}: {kind}/{document['metadata']['name']}"
    if kind in schemas:
        for error in jsonschema.Draft202012Validator(schemas[kind]).iter_errors(document):
            problems.append(f"{what}: {error.json_path}: {error.message}")
        seen += 1
        continue
    for version in versions:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:
            problems.append(f"{what} in {version}: {error}")
        seen += 1
print(seen)
if problems:
    sys.exit("\n".join(problems))
