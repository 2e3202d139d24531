# SPDX-License-Identifier: MIT
"""The bars of takeovers, as a table."""
from bars import Bar
from kills_rows import summary
from report import table
from results import median

PAUSE_P50 = 0.020
PAUSE_MAX = 0.200
KEEPER_BACK = 0.100
MILLION_PAUSE = 0.050
HUNDRED_BACK = 2.0
KEEPER_MEMORY = 1e6
READERS = {"kills": "kills of the daemon", "keeper-kills": "kills of the keeper", "upgrade": "upgrades"}


def ms(seconds):
    return "–" if seconds is None else f"{seconds * 1e3:.1f} ms"


def at_most(what, limit, shown, value, most):
    return Bar(what, limit, shown, value is not None and value <= most)


def judge(found, only_errors=False):
    """What a run didn't measure has no bar. A row whose mount died has bars that aren't met."""
    bars = []
    for name, result in found.items():
        row, _, rest = name.partition(",")
        suffix = "," + rest if rest else ""
        if "skipped" in result:
            bars.append(Bar(name, "", "skipped: " + result["skipped"], None))
            continue
        bars += [at_most(f"{name}: errors", "0", f"{result['errors']} (after {result['done']})", result["errors"], 0),
                 at_most(f"{name}: wrong bytes", "0", str(result["wrong"]), result["wrong"], 0)]
        if not only_errors:
            bars += ROWS[row](result, row + suffix)
    return bars


def pauses(result, name):
    of = summary(result)
    return [at_most(f"{name}: pause, median", f"≤ {ms(PAUSE_P50)}", ms(of["p50"]), of["p50"], PAUSE_P50),
            Bar(f"{name}: pause, p99", "", ms(of["p99"]), None),
            at_most(f"{name}: pause, longest", f"≤ {ms(PAUSE_MAX)}", ms(of["max"]), of["max"], PAUSE_MAX),
            Bar(f"{name}: longest gap without a kill", "", ms(result.get("undisturbed")), None)]


def keeper_kills(result, name):
    longest = max(result["times"], default=None)
    return [at_most(f"{name}: a new keeper, longest", f"≤ {ms(KEEPER_BACK)}", ms(longest), longest, KEEPER_BACK)]


def upgrade(result, name):
    return [Bar(f"{name}: pause, longest", "", ms(summary(result)["max"]), None)]


def million(result, name):
    longest = summary(result)["max"]
    return [at_most(f"{name}: pause, longest", f"≤ {ms(MILLION_PAUSE)}", ms(longest), longest, MILLION_PAUSE)]


def hundred(result, name):
    longest = max(result["times"], default=None)
    return [at_most(f"{name}: all answer again, longest", f"≤ {ms(HUNDRED_BACK)}", ms(longest), longest, HUNDRED_BACK)]


def cost(result, name):
    bars = []
    for key, when in (("keeper_memory", "after a walk"), ("keeper_memory_after", "after a takeover")):
        value = result.get(key)
        shown = "–" if value is None else f"{value / 1e6:.2f} MB"
        bars.append(at_most(f"{name}: private memory of the keeper, {when}", f"≤ {KEEPER_MEMORY / 1e6:g} MB", shown,
                            value, KEEPER_MEMORY))
    if result.get("ready_on") and result.get("ready_off"):
        on, off = median(result["ready_on"]), median(result["ready_off"])
        bars.append(Bar(f"{name}: mount to ready, with and without a keeper", "",
                        f"{ms(on)} and {ms(off)} ({on / off:.2f})", None))
    return bars


ROWS = {"kills": pauses, "keeper-kills": keeper_kills, "upgrade": upgrade, "million": million, "hundred": hundred,
        "cost": cost}


def text(bars):
    words = {True: "met", False: "**not met**", None: ""}
    return table(["row", "bar", "measured", ""], [[bar.what, bar.limit, bar.measured, words[bar.met]] for bar in bars])


def complaints(found):
    """What the rows say of errors."""
    return "\n".join(f"{name}, {times} times: {text}" for name, result in found.items()
                     for text, times in result["said"].items())
