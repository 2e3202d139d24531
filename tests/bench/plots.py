# SPDX-License-Identifier: MIT
"""Bars of times beside each other, as SVG that is the same for the same numbers."""
import math
import os

# The same peer has the same colour everywhere.
COLOURS = {"pkgfs": "#c0392b", "pkgfs-v2": "#e59866", "pkgfs-flat": "#f5b7b1", "ext4": "#7f8c8d", "squashfs": "#2e86c1",
           "erofs": "#85c1e9", "squashfuse_ll": "#7d3c98", "overlayfs": "#2e86c1", "fuse-overlayfs": "#7d3c98"}
OTHERS = ["#1e8449", "#b7950b", "#117a65", "#5d6d7e"]  # variants that were named on the command line
REQUEST_KINDS = ["lookup", "getattr", "open", "read", "release", "opendir", "readdir", "readdirplus", "releasedir"]


def rows_like(results, trees, prefixes):
    return [(tree, row) for tree, row in results.rows() if tree in trees and row.startswith(prefixes)]


def draw(directory, results, order):
    """The plots for which there are numbers: pairs of file name and title."""
    import matplotlib  # pylint: disable=import-outside-toplevel

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pkgfs", "font.size": 9, "svg.fonttype": "none"})
    os.makedirs(directory, exist_ok=True)
    first_three = ("T1", "T2", "T3")
    wanted = [
        ("fresh.svg", "Fresh: just mounted, the backing file in the page cache", rows_like(
            results, first_three, ("fresh", "absent_first"))),
        ("warm.svg", "Warm: again on the same mount", rows_like(results, first_three, ("warm", "absent_again"))),
        ("cold.svg", "Cold: the page cache dropped", rows_like(results, first_three, ("cold",))),
        ("layers.svg", "Five packages over each other", rows_like(results, ("T5",), ("fresh", "warm"))),
    ]
    drawn = []
    for name, title, rows in wanted:
        if rows:
            times(os.path.join(directory, name), title, rows, results, order)
            drawn.append((name, title))
    if requests(os.path.join(directory, "requests.svg"), results):
        drawn.append(("requests.svg", "FUSE requests"))
    return drawn


def save(figure, path):
    figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")


def times(path, title, rows, results, order):
    """Median ms, with whiskers from least to most; the axis is logarithmic, since they differ by a hundred times."""
    from matplotlib.figure import Figure  # pylint: disable=import-outside-toplevel

    names = [peer for peer in order if any(results.select(tree, row, peer) for tree, row in rows)]
    figure = Figure(figsize=(9, 0.6 + len(rows) * (0.12 * len(names) + 0.14)))
    axes = figure.subplots()
    others = iter(OTHERS * len(names))
    height = 0.84 / len(names)
    for number, peer in enumerate(names):
        colour = COLOURS.get(peer) or next(others)
        places, lengths, whiskers = [], [], [[], []]
        for place, (tree, row) in enumerate(rows):
            took, spread = results.median(row, tree, peer), results.spread(row, tree, peer)
            if took:
                places.append(place + (number + 0.5) * height - 0.42)
                lengths.append(took / 1e6)
                whiskers[0].append((took - spread[0]) / 1e6)
                whiskers[1].append((spread[1] - took) / 1e6)
        axes.barh(places, lengths, height * 0.9, xerr=whiskers, label=peer, color=colour,
                  error_kw={"elinewidth": 0.6, "ecolor": "#333333"})
    axes.set_yticks(range(len(rows)), [f"{tree} {row.replace('_', ' ')}" for tree, row in rows])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    least = min(results.spread(row, tree, peer)[0] for tree, row in rows for peer in names
                if results.select(tree, row, peer)) / 1e6
    axes.set_xlim(left=10 ** math.floor(math.log10(least * 0.7)))  # a whole decade, so that bars can be told apart
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ms")
    axes.set_title(title)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def requests(path, results):
    """By kind, those of pkgfs over those of squashfuse_ll."""
    from matplotlib.figure import Figure  # pylint: disable=import-outside-toplevel

    lines = [(f"{row.replace('_', ' ')}  {peer}", found) for tree, row in results.rows() if tree == "T1"
             for peer in ("pkgfs", "squashfuse_ll") if (found := results.requests(tree, row, peer)) is not None]
    if not lines:
        return False
    figure = Figure(figsize=(9, 0.8 + 0.2 * len(lines)))
    axes = figure.subplots()
    done = [0.0] * len(lines)
    for number, kind in enumerate(REQUEST_KINDS + ["other"]):
        counts = [sum(found.values()) - sum(found.get(known, 0) for known in REQUEST_KINDS) if kind == "other"
                  else found.get(kind, 0) for _, found in lines]
        if any(counts):
            axes.barh(range(len(lines)), counts, 0.8, left=done, label=kind, color=f"C{number}")
            done = [before + count for before, count in zip(done, counts)]
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_title("FUSE requests, T1")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)
    return True
