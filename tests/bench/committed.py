# SPDX-License-Identifier: MIT
"""The counts that were committed, and how others compare with them."""
import dataclasses
import enum
import json
import os

ALLOCATIONS = "allocations"
INSTRUCTIONS = "instructions"
REQUESTS = "requests"
TOLERANCE = 0.05  # of instructions
# What is pushed in time depends on who runs when; most runs need a twentieth of those without, and all of them when the
# pushing is broken.
TIMED = ("--push=auto", "read")
SHARE = 0.25
AT_MOST = "at most"

RULES = {
    ALLOCATIONS: "Exact, of all requests of a pass: a replay of fixed requests makes the same every time. None may come "
                 "from us when warm; libfuse makes one a request.",
    INSTRUCTIONS: f"Up to {TOLERANCE:.0%} more, a request: the same program needs the same to a few in a million, so "
                  "that this is what a change may cost unsaid. Judged with the toolchain of `about` only.",
    REQUESTS: "Not one more: the kernel asks the same each time, where nothing depends on time. What is pushed in time "
              f"does; its reads are judged by a limit (\"{AT_MOST}\"): {SHARE:.0%} of those without pushing. "
              "Judged with the kernel of `about` only.",
}


class Verdict(enum.Enum):
    SAME = ""
    BETTER = "better"
    WORSE = "WORSE"


@dataclasses.dataclass
class Line:
    """One figure."""

    kind: str
    name: str
    committed: int
    limit: bool  # not to be exceeded, instead of to be met
    now: int
    verdict: Verdict

    def committed_text(self):
        return f"≤ {self.committed}" if self.limit else str(self.committed)

    def __str__(self):
        return f"{self.kind} {self.name}: {self.now}, committed {self.committed_text()}"


def flat(tree, prefix=""):
    """Nested names and numbers as one dictionary; a limit stays what it is."""
    found = {}
    for name, value in tree.items():
        path = f"{prefix} {name}".strip()
        if isinstance(value, dict) and AT_MOST not in value:
            found.update(flat(value, path))
        else:
            found[path] = value
    return found


class Committed:
    def __init__(self, path):
        self.path = path
        self.content = {"about": {}, "figures": {}}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.content = json.load(file)

    def compare(self, kind, now):
        """Lines of all figures, those of before first; what isn't there counts as 0."""
        before = flat(self.content["figures"].get(kind, {}))
        after = flat(now)
        lines = []
        for name in dict.fromkeys([*before, *after]):
            value = before.get(name, 0)
            limit = isinstance(value, dict)
            value = value[AT_MOST] if limit else value
            lines.append(Line(kind, name, value, limit, after.get(name, 0), verdict(kind, value, limit,
                                                                                    after.get(name, 0))))
        return lines

    def why_not_judged(self, kind, about):
        key = {INSTRUCTIONS: "toolchain", REQUESTS: "kernel"}.get(kind)
        before = self.content["about"].get(key)
        if not key or before == about[key]:
            return ""
        return f"the committed ones are of another {key}. Then: {text(before)}. Now: {text(about[key])}."

    def update(self, found, about):
        """Kinds that weren't counted stay as they are, with what they were counted on."""
        figures = self.content["figures"]
        for kind, now in found.items():
            figures[kind] = with_limits(now) if kind == REQUESTS else now
        was = self.content["about"]
        self.content = {
            "about": {"toolchain": about["toolchain"] if INSTRUCTIONS in found else was.get("toolchain"),
                      "kernel": about["kernel"] if REQUESTS in found else was.get("kernel")},
            "rules": RULES,
            "figures": {kind: figures[kind] for kind in RULES if kind in figures},
        }
        unfinished = self.path + ".new"
        with open(unfinished, "w", encoding="utf-8") as out:
            json.dump(self.content, out, indent=2, ensure_ascii=False)
            out.write("\n")
        os.replace(unfinished, self.path)


def verdict(kind, before, limit, now):
    allowed = before * (1 + TOLERANCE) if kind == INSTRUCTIONS else before
    if now > allowed:
        return Verdict.WORSE
    enough = before * (1 - TOLERANCE) if kind == INSTRUCTIONS else before
    return Verdict.BETTER if now < enough and not limit else Verdict.SAME


def text(value):
    return ", ".join(f"{name} {what}" for name, what in value.items()) if isinstance(value, dict) else str(value)


def with_limits(requests):
    """The same, with limits where counts depend on time."""
    push, kind = TIMED
    others = next(rows for name, rows in requests.items() if name != push)
    limited = {row: {name: {AT_MOST: int(others[row].get(kind, 0) * SHARE)} if name == kind and count else count
                     for name, count in counts.items()}
               for row, counts in requests[push].items()}
    return {**requests, push: limited}
