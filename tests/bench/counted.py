# SPDX-License-Identifier: MIT
"""What tests/bench/guard counts, each as nested dictionaries of names and numbers."""
import contextlib
import dataclasses
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

from lazy_network import Registry
from measure import Bench
from peers import Pkgfs
from trees import LayeredTree, SmallFiles
from workloads import chosen_groups

SEED = 1
ROWS = ["fresh_walk", "fresh_read", "warm_walk", "warm_lstat", "absent_first", "absent_again", "warm_read", "warm_tar",
        "warm_open", "fresh_tar"]
PUSHES = ("off", "auto")
# Of instructions, for twice as much: n log n, and what a hash table or a vector that grows adds.
MOST_GROWTH = 2.3
# Of what a package that was local from the start needs.
MOST_OF_FETCHED = 1.03
# Nothing is resolved while requests are answered, and each CPU gets the same functions of glibc, so that a run depends
# on the program only.
PROFILE_ENVIRONMENT = {"LD_BIND_NOW": "1",
                       "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,-FSRM"}


class CountingError(Exception):
    """Something that must run here doesn't."""


class ReplayedFiles(SmallFiles):
    """Enough for each kind of request to come some hundred times."""

    FILES = 600
    DIRECTORIES = 60


class GuardedFiles(SmallFiles):
    """T1 in small, for what goes through the kernel."""

    FILES = 2000
    DIRECTORIES = 150


def tools(build):
    return os.path.join(build, "tests/bench")


def run(words, environment=None):
    try:
        result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, check=False, env={**os.environ, **(environment or {})})
    except OSError as error:
        raise CountingError(f"{words[0]}: {error.strerror}") from error
    if result.returncode != 0:
        raise CountingError(f"{' '.join(words)} failed ({result.returncode}): {result.stderr.strip()}")
    return result.stdout


def small_packages(build, place):
    """What is replayed: a package of one volume, and one that shows five over each other. Words for bench_replay."""
    flat = ReplayedFiles("flat", place, tools(build), SEED)
    layers = LayeredTree("layers", place, tools(build), SEED, flat)
    with contextlib.redirect_stdout(None):  # says what it makes
        return {"flat": [flat.package(3)], "layers": ["--registry", layers.registry(3), "bench/merged@1.0.0"]}


def differences_of_fetched(build, packages, place, with_instructions):
    """A Difference for each count, pass and kind of request. The package of one volume is opened from a registry: lazily
    with an empty cache, and then from the cache, which has it by now."""
    registry = Registry(packages["flat"][0], place)
    endpoint = f"http://127.0.0.1:{registry.ports['main'].number}/graphql"
    fetched = {"package": ["--fetched", endpoint, "bench/tree"]}
    local = {"package": ["--threads", "--registry", endpoint, "bench/tree"]}
    try:
        with own_cache(place):
            counts = [("allocations", *(allocations(build, words, {})[0] for words in (fetched, local)))]
        if with_instructions:
            with own_cache(place):
                counts.append(("instructions", *(instructions(build, words, place) for words in (fetched, local))))
    finally:
        registry.end()
    return [Difference(f"{kind} {pass_name} {name}", count, never["package"][pass_name][name])
            for kind, once, never in counts for pass_name, names in once["package"].items()
            for name, count in names.items()]


@contextlib.contextmanager
def own_cache(place):
    before = os.environ.get("WASMER_DIR")
    with tempfile.TemporaryDirectory(prefix="cache-", dir=place) as directory:
        os.environ["WASMER_DIR"] = directory
        try:
            yield
        finally:
            if before is None:
                del os.environ["WASMER_DIR"]
            else:
                os.environ["WASMER_DIR"] = before


@dataclasses.dataclass
class Difference:
    """What the same requests cost with a package that was lazy, and with one that was local from the start."""

    name: str
    fetched: int
    local: int

    def ratio(self):
        return self.fetched / self.local if self.local else float(self.fetched > 0) + 1

    def is_worse(self):
        return self.ratio() > MOST_OF_FETCHED

    def __str__(self):
        return f"{self.name}: {self.fetched} if it was lazy, {self.local} if it never was, {self.ratio():.3f} times"


def replay(build, *words):
    return [os.path.join(tools(build), "bench_replay"), *words]


def allocations(build, packages, times):
    """By package, pass and kind of request; the toolchain; where those of warm passes came from. Fills `times`."""
    found = {}
    stacks = {}
    for name, words in packages.items():
        answer = json.loads(run(replay(build, *words)))
        passes = found[name] = {}
        for pass_name, kinds in answer["passes"].items():
            passes[pass_name] = {kind: counts["allocations"] for kind, counts in kinds.items()}
            passes[pass_name]["by libfuse"] = sum(counts["libfuse_allocations"] for counts in kinds.values())
            times[f"replay {name} {pass_name}"] = sum(counts["ns"] for counts in kinds.values()) / 1e6
        stacks[name] = answer["stacks"]
        toolchain = answer["toolchain"]
    return found, toolchain, stacks


def show_stacks(stacks):
    for stack in dict.fromkeys(tuple(stack) for found in stacks.values() for stack in found):
        print("An allocation of a warm pass:")
        for frame in stack:
            module, _, offset = frame.rpartition("+")
            where = frame
            if os.path.exists(module) and shutil.which("addr2line"):
                where = run(["addr2line", "-Cfpie", module, offset]).strip() or frame
            print("  " + where.replace("\n", "\n  "))
        print()


# -- instructions


def valgrind_missing():
    return "" if shutil.which("valgrind") else "no valgrind (packaging/install-deps guard)"


def valgrind_version():
    return run(["valgrind", "--version"]).strip().removeprefix("valgrind-") if not valgrind_missing() else "none"


def profiled(words, out):
    """What a program prints, and the instructions of each dump that it asks for."""
    answer = json.loads(run(["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
                             f"--callgrind-out-file={out}", *words], PROFILE_ENVIRONMENT))
    return answer, dict(map(dumped, glob.glob(glob.escape(out) + ".*")))


def instructions(build, packages, place):
    """A request, by package, pass and kind."""
    found = {}
    for name, words in packages.items():
        answer, totals = profiled(replay(build, "--profile", *words), os.path.join(place, f"callgrind-{name}"))
        found[name] = {
            pass_name: {kind: round(totals[f"{pass_name} {kind}"] / counts["requests"])
                        for kind, counts in kinds.items()}
            for pass_name, kinds in answer["passes"].items()}
    return found


@dataclasses.dataclass
class Growth:
    """The instructions of the same work for one and for twice as much of something."""

    row: str
    sizes: list
    once: int
    twice: int

    def ratio(self):
        return self.twice / self.once

    def is_worse(self):
        return self.ratio() > MOST_GROWTH

    def __str__(self):
        return f"{self.row}: {self.once} instructions for {self.sizes[0]}, {self.twice} for {self.sizes[1]}, " \
               f"{self.ratio():.2f} times as many"


def growth(build, place):
    """How the work of a mount and a walk grows with a package, one Growth a row."""
    packages = os.path.join(place, "scale")
    os.makedirs(packages)
    rows, totals = profiled([os.path.join(tools(build), "bench_scale"), packages],
                            os.path.join(place, "callgrind-scale"))
    shutil.rmtree(packages)
    return [Growth(row, sizes, totals[f"{row} once"], totals[f"{row} twice"]) for row, sizes in rows.items()]


def dumped(path):
    """The phase that a dump of callgrind is of, and its instructions."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    phase = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
    total = re.search(r"^totals: (\d+)", text, re.MULTILINE)
    return (phase.group(1), int(total.group(1))) if phase and total else ("", 0)


# -- requests of a mount


def requests(build, place):
    """By --push, row and kind; and milliseconds."""
    tree = GuardedFiles("T1", place, tools(build), SEED)
    mounts = os.path.join(place, "mnt")
    os.makedirs(mounts, exist_ok=True)
    bench = Bench({"T1": tree}, tools(build), mounts, SEED)
    found = {}
    times = {}
    for push in PUSHES:
        name = f"--push={push}"
        peer = Pkgfs(f"push-{push}", os.path.join(build, "pkgfs"), options=[name])
        found[name] = {}
        for group, wanted in chosen_groups(["T1"], ROWS, False):
            with contextlib.redirect_stdout(None):
                samples = bench.run_group(0, group, wanted, peer)
            for sample in samples:
                counts = {kind: count for kind, count in sample["requests"].items() if count and kind != "getxattr"}
                found[name][sample["row"]] = counts or {"any": 0}
                times[f"{name} {sample['row']}"] = sample["ns"] / 1e6
    return found, times


def fewer(one, other):
    """The lower of two counts, everywhere; what one doesn't have isn't there."""
    if not one:
        return other
    merged = {}
    for name in other:
        if isinstance(other[name], dict):
            merged[name] = fewer(one.get(name, {}), other[name])
        elif name in one:
            merged[name] = min(one[name], other[name])
    return merged or {"any": 0}
