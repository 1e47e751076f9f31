"""Parses PromQL: a JSON list of [where, expression] on standard input. Grafana's variables are put in first."""

import json
import sys

import promql_parser

expressions = json.load(sys.stdin)
for where, expression in expressions:
    try:
        promql_parser.parse(expression.replace("$__rate_interval", "5m").replace("$namespace", "events"))
    except Exception as error:
        sys.exit(f"{where}: {expression}: {error}")
print(len(expressions))
