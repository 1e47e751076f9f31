"""Parses metrics by Prometheus' own client: {process: text} as JSON on standard input.

Prints, for each process and metric: its type, its help, and its series: a list of [suffix, labels].
"""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

parsed = {}
for process, text in json.load(sys.stdin).items():
    families = parsed.setdefault(process, {})
    for family in text_string_to_metric_families(text):
        name = family.name + "_total" if family.type == "counter" else family.name
        if name in families:
            sys.exit(f"{process}: {name} stands there twice")
        series = [[sample.name[len(name):], sample.labels] for sample in family.samples]
        families[name] = {"type": family.type, "help": family.documentation, "series": series}
print(json.dumps(parsed))
