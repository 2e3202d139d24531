# SPDX-License-Identifier: MIT
"""Formats results as tables that suit a terminal and Markdown."""
from bars import judge
from results import median


def table(head, lines):
    """An aligned Markdown table: the first column is aligned to the left, the others to the right."""
    cells = [head, *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]

    def row(line):
        return "| " + " | ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                                 for column, (cell, width) in enumerate(zip(line, widths))) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([row(head), rule, *map(row, lines)])


def milliseconds(ns):
    ms = ns / 1e6
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def peers_of(results, tree):
    return list(dict.fromkeys(sample["peer"] for sample in results.samples if sample["tree"] == tree))


def per_tree(results, order, tree, cell, peers=None):
    names = [peer for peer in order if peer in (peers or peers_of(results, tree))]
    lines = [[row, *(cell(row, peer) for peer in names)] for found, row in results.rows() if found == tree]
    return table([tree, *names], lines)


def times(results, order, tree):
    """The median in ms, and in brackets the ratios to ext4 and to squashfs."""
    def cell(row, peer):
        took = results.median(row, tree, peer)
        if took is None:
            return ""
        ratios = [results.median_of_ratios(tree, row, peer, other) for other in ("ext4", "squashfs")]
        return f"{milliseconds(took)} ({' '.join('–' if ratio is None else f'{ratio:.2f}' for ratio in ratios)})"

    return per_tree(results, order, tree, cell)


def spreads(results, order, tree):
    def cell(row, peer):
        found = results.spread(row, tree, peer)
        return f"{milliseconds(found[0])}–{milliseconds(found[1])}" if found else ""

    return per_tree(results, order, tree, cell)


def with_daemon(results, tree):
    return {sample["peer"] for sample in results.samples if sample["tree"] == tree and "rss" in sample}


def cpu(results, order, tree):
    """The CPU time of the daemon and of the client in ms."""
    def cell(row, peer):
        daemon = results.median(row, tree, peer, "daemon_ns")
        return "" if daemon is None else (
            f"{milliseconds(daemon)} + {milliseconds(results.median(row, tree, peer, 'client_ns'))}")

    return per_tree(results, order, tree, cell, with_daemon(results, tree))


def memory(results, order, tree):
    """The memory of the daemon after the row in MiB: resident, proportional, anonymous."""
    def cell(row, peer):
        values = [results.median(row, tree, peer, what) for what in ("rss", "pss", "anonymous")]
        return "" if None in values else " / ".join(f"{value / 1024:.1f}" for value in values)

    return per_tree(results, order, tree, cell, with_daemon(results, tree))


def requests(results, order, tree):
    def cell(row, peer):
        found = results.requests(tree, row, peer)
        if found is None:
            return ""
        return " ".join(f"{kind}={count:g}" for kind, count in sorted(found.items()) if count) or "0"

    return per_tree(results, order, tree, cell, with_daemon(results, tree))


def bars(results, peer):
    judged = judge(results, peer)
    measured = [bar for bar in judged if bar.met is not None]
    lines = [[bar.what, bar.limit, bar.measured, "met" if bar.met else "**not met**"] for bar in measured]
    text_of_table = table([f"bar ({peer})", "limit", "measured", ""], lines)
    missing = len(judged) - len(measured)
    return text_of_table + (f"\n\nThis run did not measure {missing} bars." if missing else "")


def against(results, variants):
    """Compares each variant of pkgfs with the first: median, lowest and highest of the rounds' ratios."""
    if len(variants) < 2:
        return ""
    first, *rest = variants

    def cell(tree, row, peer):
        ratios = results.ratios(tree, row, peer, first)
        return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else ""

    return table([f"against {first}", *rest],
                 [[f"{tree} {row}", *(cell(tree, row, peer) for peer in rest)] for tree, row in results.rows()])


def idle(results):
    if not results.idle:
        return "This run did not measure idle daemons."
    return table(["idle", "s", "CPU ms", "RSS MiB", "anonymous MiB"],
                 [[found["peer"], f"{found['seconds']:g}", f"{found['daemon_ns'] / 1e6:.3f}",
                   f"{found['rss'] / 1024:.1f}", f"{found['anonymous'] / 1024:.1f}"] for found in results.idle])


SECTIONS = [
    ("Time: median in ms (ratio to ext4, ratio to squashfs; both are medians of the rounds' ratios)", times),
    ("Spread: lowest to highest time in ms", spreads),
    ("CPU time: daemon + client, in ms", cpu),
    ("Memory of the daemon after the row: RSS / PSS / anonymous, MiB", memory),
    ("FUSE requests", requests),
]


def text(results, order, variants):
    """The whole report. `variants` are the names of the peers that are pkgfs."""
    parts = []
    for title, section in SECTIONS:
        parts.append(title)
        for tree in results.trees():
            if section in (times, spreads) or with_daemon(results, tree):
                parts.append(section(results, order, tree))
    if results.idle:
        parts.append(idle(results))
    if beside := against(results, variants):
        parts += ["Variants", beside]
    parts += [bars(results, peer) for peer in variants]
    return "\n\n".join(parts)
