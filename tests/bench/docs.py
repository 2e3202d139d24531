# SPDX-License-Identifier: MIT
"""Writes the tables and plots of docs/PERFORMANCE.md between the marks. The prose around them stays as it is."""
import os
import re

import plots
import report


def block(name, text):
    return f"<!-- measured: {name} -->\n{text}\n<!-- end: {name} -->"


def replace(document, name, text):
    """Replaces the text between the marks of `name`; returns the new document."""
    pattern = re.compile(rf"<!-- measured: {name} -->\n.*?<!-- end: {name} -->", re.DOTALL)
    if not pattern.search(document):
        raise RuntimeError(f"no place for {name} in PERFORMANCE.md")
    return pattern.sub(lambda _: block(name, text), document)


def tables(section, results, order):
    parts = []
    for tree in results.trees():
        if section in (report.times, report.spreads) or report.with_daemon(results, tree):
            parts.append(section(results, order, tree))
    return "\n\n".join(parts)


def write(directory, results, order, variants, machine):
    path = os.path.join(directory, "PERFORMANCE.md")
    with open(path, encoding="utf-8") as file:
        document = file.read()
    drawn = plots.draw(os.path.join(directory, "performance"), results, order)
    parts = {
        "machine": report.table(["", ""], [list(pair) for pair in machine]),
        "bars": "\n\n".join(report.bars(results, peer) for peer in variants),
        "plots": "\n\n".join(f"![{title}](performance/{name})" for name, title in drawn),
        "variants": report.against(results, variants) or "This run had no variants.",
        "idle": report.idle(results),
        **{section.__name__: tables(section, results, order) for _, section in report.SECTIONS},
    }
    for name, text in parts.items():
        document = replace(document, name, text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(document)
