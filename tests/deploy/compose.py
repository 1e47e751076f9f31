"""Reads `compose.yaml` from standard input, checks it by the Compose specification, and prints it as JSON, merged."""

import json
import sys

import compose_spec
import yaml

text = sys.stdin.read()
compose = compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text)))
compose.validate()
print(json.dumps(yaml.safe_load(text)))
