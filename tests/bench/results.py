# SPDX-License-Identifier: MIT
"""What was measured, and what is worked out from it."""
import statistics


def median(values):
    return statistics.median(values)


class Results:
    """`samples`: one for each round, row and peer; `counts`: requests as the kernel counts them, in their own round."""

    def __init__(self, samples, counts=(), idle=()):
        self.samples = samples
        self.counts = list(counts)
        self.idle = list(idle)
        self.by_key = {}
        for sample in samples:
            self.by_key.setdefault((sample["tree"], sample["row"], sample["peer"]), []).append(sample)

    def select(self, tree, row, peer):
        return self.by_key.get((tree, row, peer), [])

    def rows(self):
        """(tree, row) in the order in which they were measured."""
        return list(dict.fromkeys((sample["tree"], sample["row"]) for sample in self.samples))

    def trees(self):
        return list(dict.fromkeys(tree for tree, _ in self.rows()))

    def median(self, row, tree, peer, what="ns"):
        values = [sample[what] for sample in self.select(tree, row, peer) if what in sample]
        return median(values) if values else None

    def spread(self, row, tree, peer):
        values = [sample["ns"] for sample in self.select(tree, row, peer)]
        return (min(values), max(values)) if values else None

    def ratio_of_medians(self, tree, row, peer, other):
        mine, theirs = self.median(row, tree, peer), self.median(row, tree, other)
        return mine / theirs if mine and theirs else None

    def ratios(self, tree, row, peer, other):
        """Within each round: what disturbs a round disturbs both."""
        theirs = {sample["round"]: sample["ns"] for sample in self.select(tree, row, other)}
        return [sample["ns"] / theirs[sample["round"]] for sample in self.select(tree, row, peer)
                if theirs.get(sample["round"])]

    def median_of_ratios(self, tree, row, peer, other):
        ratios = self.ratios(tree, row, peer, other)
        return median(ratios) if ratios else None

    def requests(self, tree, row, peer):
        """By kind, the median of the daemon's own counts; else the kernel's; None when nobody counted."""
        own = [sample["requests"] for sample in self.select(tree, row, peer) if sample.get("requests") is not None]
        if own:
            kinds = dict.fromkeys(kind for counts in own for kind in counts)
            return {kind: median([counts.get(kind, 0) for counts in own]) for kind in kinds}
        for count in self.counts:
            if (count["tree"], count["row"], count["peer"]) == (tree, row, peer):
                return count["requests"]
        return None
