"""The table in README.md, between its two marks."""

import os

from process import Failure
from rows import ROWS

OPEN, CLOSE = "<!-- compare -->", "<!-- /compare -->"


def place(readme):
    """What of the README comes before the table, and what after it."""
    with open(readme) as file:
        text = file.read()
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1 or text.index(CLOSE) < text.index(OPEN):
        raise Failure(f"{os.path.basename(readme)} must have one line {OPEN} and, after it, one line {CLOSE}: "
                      "the table goes between them")
    before, rest = text.split(OPEN)
    return before, rest.split(CLOSE)[1]


def missing(results, rows, servers):
    """The cells that were to be measured and were not, by row and server."""
    return [(row, server) for row in rows for server in servers if ROWS[row].words(results, server) is None]


def markdown(results, rows, servers):
    lines = ["| | " + " | ".join(server.title for server in servers) + " |",
             "| --- |" + " --- |" * len(servers)]
    for row in rows:
        cells = [ROWS[row].words(results, server) or "not measured" for server in servers]
        lines.append(f"| {ROWS[row].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def notes(report, servers):
    """Where, when and what was measured."""
    machine, options = report["machine"], report["options"]
    kind = "virtual machine" if machine["virtual"] else "machine"
    runs = f"Medians of {options['runs']} runs" if options["runs"] > 1 else "One run"
    versions = [report["versions"][server.name] + (f" ({server.note})" if server.note else "")
                for server in servers if server.name != "floor"]
    return (f"{report['date']}, two cores ({machine['cpu']}) of a {kind} with Linux {machine['kernel']}: "
            f"{'; '.join(versions)}. {runs} of {options['seconds']:g} s.")
