# SPDX-License-Identifier: MIT
"""The bars of packages that are read over the network, as a table and a plot."""
import math
import os

import plots
from bars import Bar
from lazy_trees import FETCHED
from report import table
from results import median

MOST_REQUESTED = 64 << 10  # the first request of a container asks for so much (core/lazy/first_requests.cc)
PART = 64 << 10  # what a request has at least (LazySource::kPart)
ROUND_TRIPS = 5
PARALLEL = 8  # requests at a time (BlockFetcher::Options)
AFTER = ("fresh walk", "fresh read", "warm walk", "warm read", "cold read")


def seconds(value):
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.0f} ms"


def megabytes(value):
    return f"{value / 1e6:.1f} MB"


def interval(ratios):
    """Between these two of the sorted `ratios`, their median is with 95 % (by the sign test)."""
    count = len(ratios)
    below, chance = 0, 0.5 ** count
    while below < count // 2 and chance <= 0.025:
        below += 1
        chance += math.comb(count, below) * 0.5 ** count
    below = max(below - 1, 0)
    return ratios[below], ratios[count - 1 - below]


class Judge:
    """Works out the rows. What a run didn't measure has no row."""

    def __init__(self, bench):
        self.of = bench.measured
        self.found = bench.found
        self.facts = bench.facts
        self.rtt = bench.options.rtt / 1e3
        self.rate = bench.options.mbit * 1e6 / 8
        self.bars = []

    def at_most(self, what, limit, value, shown, most=None):
        self.bars.append(Bar(what, limit, shown, value <= most if most is not None else None))

    def ratio(self, what, mine, other, most, against):
        a, b = self.of(mine), self.of(other)
        if a is not None and b:
            self.at_most(what, f"≤ {most:g} × {against}", a / b, f"{a / b:.4f} ({seconds(a)} of {seconds(b)})", most)

    def all(self):
        self.mount()
        self.first_byte()
        self.python()
        curl, took = self.of("curl"), self.of("sequential")
        if curl and took:
            rate = curl / took
            self.bars.append(Bar("one large file in order, rate", "≥ 0.9 × curl's",
                                 f"{rate:.2f} ({seconds(took)}; curl {seconds(curl)})", rate >= 0.9))
        self.readers()
        self.many_files()
        self.after_completion()
        self.memory()
        return self.bars

    def mount(self):
        took = self.of("mount")
        if took is None:
            return
        data = self.facts["L1 directory data"] / self.rate
        trips = (took - data) / self.rtt
        self.at_most("mount to ready, without the time of the directory data", f"≤ {ROUND_TRIPS} round trips", trips,
                     f"{trips:.1f} ({seconds(took)} − {seconds(data)}; {self.of('mount requests'):g} requests, "
                     f"{self.of('mount connections'):g} connections)", ROUND_TRIPS)
        self.ratio("mount to ready", "mount", "downloaded mount", 0.02, "download, then mount")

    def first_byte(self):
        for name, what in (("first byte", "first byte of a small file after that"),
                           ("first byte, background", "the same while the background fetches")):
            if (took := self.of(name)) is not None:
                trips = took / self.rtt
                self.at_most(what, "≤ 2 round trips", trips, f"{trips:.1f} ({seconds(took)})", 2)

    def python(self):
        self.ratio("mount and start of Python with two modules", "lazy Python", "downloaded Python", 0.15,
                   "download, then start")
        self.ratio("the same with a profile", "profiled Python", "downloaded Python", 0.08, "download, then start")
        fetched, read = self.of("Python bytes fetched"), self.of("Python bytes read")
        if fetched and read:
            self.at_most("bytes fetched for that", "≤ 1.5 × read", fetched / read,
                         f"{fetched / read:.2f} ({megabytes(fetched)} of {megabytes(read)}; "
                         f"{self.of('Python requests'):g} requests)", 1.5)

    def readers(self):
        took = self.of("readers")
        if took is None:
            return
        needed = self.facts["readers' blocks"] * FETCHED
        fetched, requests = self.of("readers' bytes"), self.of("readers' requests")
        self.at_most("50 readers of 2,000 small files, bytes", "≤ 1.05 × their blocks", fetched / needed,
                     f"{fetched / needed:.3f} ({megabytes(fetched)}; {requests:g} requests)", 1.05)
        ideal = max(needed / self.rate, self.facts["readers' runs"] / PARALLEL * self.rtt)
        self.at_most("the same, time", "≤ 1.2 × ideal", took / ideal,
                     f"{took / ideal:.2f} ({seconds(took)} of {seconds(ideal)})", 1.2)

    def many_files(self):
        fetched = self.of("many files bytes")
        if fetched is None:
            return
        data = self.facts["L4 directory data"]
        # The first request has no more than that of the files' bytes, and parts are fetched as a whole.
        most = data + MOST_REQUESTED + PART
        self.at_most("1,000,000 files, bytes at the mount", "directory data and ≤ 192 KiB", fetched,
                     f"{megabytes(fetched)} for {megabytes(data)} ({seconds(self.of('many files mount'))}, "
                     f"{self.of('many files requests'):g} requests)", most)
        walked = self.of("many files bytes walked")
        self.at_most("1,000,000 files, bytes of a walk", "0", walked, f"{walked:g}", 0)
        lazy, local = self.of("many files lazy memory") * 1024, self.of("many files local memory") * 1024
        self.at_most("1,000,000 files, memory after a walk", "≤ local + 8 MB", lazy - local,
                     f"{megabytes(lazy)}; local {megabytes(local)}", 8e6)

    def after_completion(self):
        """The two mounts take turns, so the ratios are of neighbours in time."""
        for row in AFTER:
            lazy, local = self.found.get(f"was lazy {row}"), self.found.get(f"local {row}")
            if not lazy or not local:
                continue
            ratios = sorted(a / b for a, b in zip(lazy, local))
            low, high = interval(ratios)
            self.at_most(f"after completion: {row}", "≤ 1.03 × local", median(ratios),
                         f"{median(ratios):.3f} (95 %: {low:.3f} to {high:.3f}; {len(ratios)} pairs; "
                         f"{seconds(median(lazy))})", 1.03)
            asked, others = self.of(f"was lazy {row} requests"), self.of(f"local {row} requests")
            self.at_most(f"after completion: {row}, requests", "≤ 1.03 × local", asked, f"{asked:g}; local {others:g}",
                         max(1.03 * others, others + 1))

    def memory(self):
        for name, what in (("peak", "daemon's anonymous memory, peak"),
                           ("peak at full speed", "the same, at full speed")):
            if (peak := self.of(name)) is not None:
                most = 32e6 + self.facts["L1 directory data"]
                self.at_most(what, "≤ 32 MB + directory data", peak * 1024, megabytes(peak * 1024), most)


def text(bars):
    return table(["row", "bar", "measured", ""],
                 [[bar.what, bar.limit, bar.measured, "met" if bar.met else "**not met**"] for bar in bars])


def draw(directory, bench):
    """Times of mounts that download first, and of those that don't."""
    import matplotlib  # pylint: disable=import-outside-toplevel

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pkgfs", "font.size": 9, "svg.fonttype": "none"})
    from matplotlib.figure import Figure  # pylint: disable=import-outside-toplevel

    of = bench.measured
    pairs = [("mount", of("mount"), of("downloaded mount"))]
    if of("mount") and of("first byte"):
        pairs.append(("mount, first byte of a file", of("mount") + of("first byte"), of("downloaded mount")))
    pairs.append(("mount, start of Python", of("lazy Python"), of("downloaded Python")))
    if of("mount") and of("sequential"):
        pairs.append(("mount, a large file", of("mount") + of("sequential"), of("downloaded mount")))
    pairs = [pair for pair in pairs if pair[1] and pair[2]]
    if not pairs:
        return None
    figure = Figure(figsize=(9, 0.8 + 0.5 * len(pairs)))
    axes = figure.subplots()
    for number, (label, colour) in enumerate((("lazy", plots.COLOURS["pkgfs"]),
                                              ("downloaded first", plots.COLOURS["ext4"]))):
        places = [place + 0.4 * number - 0.2 for place in range(len(pairs))]
        axes.barh(places, [pair[1 + number] for pair in pairs], 0.38, label=label, color=colour)
    axes.set_yticks(range(len(pairs)), [pair[0] for pair in pairs])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("s")
    title = f"Over {bench.options.mbit:g} Mbit/s with a round trip of {bench.options.rtt:g} ms"
    axes.set_title(title)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    os.makedirs(directory, exist_ok=True)
    plots.save(figure, os.path.join(directory, "lazy.svg"))
    return f"![{title}](performance/lazy.svg)"
