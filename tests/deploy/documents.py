"""Reads an object of YAML texts by name, in JSON, from standard input, and prints their documents as lists by the same names."""

import json
import sys

import yaml

loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(text):
    return [document for document in yaml.load_all(text, loader) if document is not None]


print(json.dumps({name: documents(text) for name, text in json.load(sys.stdin).items()}))
