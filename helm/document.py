#!/usr/bin/env python3
"""Writes the table of values into the chart's README.md, from the comments in its values.yaml.

A value is documented by a comment `# -- …` right above it. `--check` writes nothing and fails where the table is not current.
"""

import pathlib
import re
import sys

BEGIN, END = "<!-- values: made by helm/document.py -->\n", "<!-- end of values -->\n"
KEY = re.compile(r"^( *)([A-Za-z][\w-]*):(?: (.*))?$")


def values(text):
    """Yields the path, default and comment of each documented value; a value without a comment is an error."""
    path, comment, documented_at = [], None, None
    for line in text.splitlines():
        stripped = line.strip()
        if documented_at is not None and stripped and len(line) - len(line.lstrip()) > documented_at:
            continue
        documented_at = None
        if stripped.startswith("# --"):
            comment = stripped[4:].strip()
            continue
        match = KEY.match(line)
        if not match:
            comment = None
            continue
        depth, default = len(match[1]), match[3]
        path = [part for part in path if part[0] < depth] + [(depth, match[2])]
        name = ".".join(part for _, part in path)
        if comment is not None:
            documented_at = depth
            yield name, default, comment
        elif default is not None:
            sys.exit(f"values.yaml: {name} has no comment")
        comment = None


def table(text):
    rows = ["| value | default | what it is |", "|---|---|---|"]
    for name, default, comment in values(text):
        shown = f"`{default}`" if default is not None else "see `values.yaml`"
        cells = [f"`{name}`", shown, comment]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def main(arguments):
    check = "--check" in arguments
    given = [argument for argument in arguments if argument != "--check"]
    chart = pathlib.Path(given[0]) if given else pathlib.Path(__file__).parent / "millrace"
    readme = chart / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    current = before + BEGIN + table((chart / "values.yaml").read_text()) + END + after
    if check and current != text:
        sys.exit("the table in README.md is not current: run helm/document.py")
    if not check:
        readme.write_text(current)


main(sys.argv[1:])
