# SPDX-License-Identifier: MIT
"""Kills daemons and keepers under readers: the rows of the command takeover."""
import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from kills_mount import Crew, Dead, KeptMount, running, short
from results import median

MOST_SAID = 30


class Dropper(threading.Thread):
    """Drops the kernel's caches now and then, so that readers go on to make requests. Needs root."""

    def __init__(self, what, seconds):
        super().__init__(daemon=True)
        self.what = what
        self.seconds = seconds
        self.ends = threading.Event()

    def run(self):
        while not self.ends.wait(self.seconds):
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
                file.write(f"{self.what}\n")

    def __enter__(self):
        if self.what and os.geteuid() == 0:
            self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()


class Kills:
    """`found` gets what each row measured."""

    def __init__(self, trees, options, places, progress):
        self.trees = trees
        self.options = options
        self.places = places
        self.progress = progress
        self.program = os.path.join(options.programs, "pkgfs")
        self.tools = os.path.join(options.build, "tests/bench")
        self.chance = random.Random(options.seed)
        self.found = {}
        self.resend = True
        self.number = 0

    # -- what the rows share

    def environment(self):
        return {} if self.resend else {"PKGFS_TEST_NO_RESEND": "1"}

    def new_place(self, name):
        self.number += 1
        return os.path.join(self.places, f"{self.number}-{name}")

    def mount(self, tree, *options):
        package = self.trees[tree].package(3)
        return KeptMount(self.program, package, self.new_place("mount"), self.environment(), options)

    @contextlib.contextmanager
    def row(self, name):
        """The results of a row; an unexpected end of the mount is one of them."""
        result = {"done": 0, "errors": 0, "wrong": 0, "said": {}, "pauses": [], "times": [], "rounds": {}}
        self.found[name if self.resend else name + ", no resend"] = result
        try:
            yield result
        except Dead as dead:
            self.complain(result, [str(dead)])

    @staticmethod
    def complain(result, said):
        result["errors"] += len(said)
        note(result, said)

    def under_readers(self, result, times, act):
        """Calls `act(mount, crew)` at random moments while readers read; it returns when the mount stopped, when it
        went on, and what is wrong. The pause is the longest gap of the probe in between."""
        tree = self.trees["K1"]
        source = tree.source()
        with self.mount("K1") as mount, Dropper(self.options.drop, self.options.drop_seconds):
            fresh = self.new_place("fresh")
            os.mkdir(fresh)
            crew = Crew(("probe", *self.options.readers), mount, source, fresh, self.options.seed)
            spans = []
            try:
                self.complain(result, crew.broken)
                for number in range(times):
                    self.progress(f"{number + 1}/{times}")
                    time.sleep(self.chance.uniform(0.02, self.options.every))
                    begin, end, wrong = act(mount, crew)
                    if begin is not None:
                        spans.append((begin, end))
                        result["times"].append(end - begin)
                    result["done"] += 1
                    self.complain(result, wrong)
            finally:
                self.take_ends(result, crew.stop(), spans)
            self.complain(result, mount.ends_cleanly())

    def take_ends(self, result, ends, spans):
        for end in ends:
            result["rounds"][end["kind"]] = end["rounds"]
            result["errors"] += end["errors"]
            result["wrong"] += end["wrong"]
            note(result, [f"{end['kind']}: {text}" for _, text in end["said"]])
            if "gaps" in end:
                result["pauses"] += pauses(end["gaps"], spans)
                result["undisturbed"] = longest_outside(end["gaps"], spans)

    # -- rows

    def kills(self):
        def act(mount, crew):
            with crew.fresh_mount(self.chance) if self.chance.random() < 0.4 else contextlib.nullcontext() as fresh:
                if fresh is None:
                    return mount.kill_daemon()
                _, _, wrong = fresh.kill_daemon()
                return None, None, wrong  # the probe asks the other mount

        with self.row("kills") as result:
            self.under_readers(result, self.options.kills, act)

    def keeper_kills(self):
        """Every fifth time the daemon, too, as soon as it has its new keeper, which must know everything."""
        turn = iter(range(self.options.keeper_kills))

        def act(mount, _):
            begin, end, wrong = mount.kill_keeper()
            if next(turn) % 5 == 4:
                wrong += mount.kill_daemon()[2]
            return begin, end, wrong

        with self.row("keeper-kills") as result:
            self.under_readers(result, self.options.keeper_kills, act)

    def upgrade(self):
        said = subprocess.run([self.program, "help"], capture_output=True, text=True, check=False)
        with self.row("upgrade") as result:
            if "upgrade-mounts" not in said.stdout:
                result["skipped"] = "pkgfs has no command upgrade-mounts"
                return

            # A daemon of the same program isn't replaced, so two copies take turns.
            copies = [self.copy_of_program(name) for name in ("one", "two")]
            turn = iter(range(self.options.upgrades))

            def act(mount, _):
                number = next(turn)
                before = mount.stats()
                begin = time.monotonic()
                done = subprocess.run([copies[number % 2], "upgrade-mounts", mount.root], capture_output=True,
                                      text=True, check=False)
                end = time.monotonic()
                if done.returncode != 0:
                    return begin, end, [f"upgrade-mounts fails: {done.stderr.strip()}"]
                after = mount.stats()
                wrong = [] if after["generation"] == before["generation"] + 1 and after["pid"] != before["pid"] else [
                    f"{short(after)} after {short(before)}"]
                if number % 5 == 4:
                    wrong += mount.kill_daemon()[2]
                return begin, end, wrong

            self.under_readers(result, self.options.upgrades, act)

    def copy_of_program(self, name):
        place = self.new_place(name)
        os.mkdir(place)
        for program in ("pkgfs", "pkgfs-keeper"):
            shutil.copy2(os.path.join(self.options.programs, program), place)
        return os.path.join(place, "pkgfs")

    def million(self):
        with self.row("million") as result, self.mount("K4") as mount:
            self.progress("walk")
            walk = [os.path.join(self.tools, "bench_workload"), "walk", mount.root]
            subprocess.run(walk, check=True, stdout=subprocess.DEVNULL)
            crew = Crew(("probe",), mount, "/var/empty", self.places, self.options.seed)
            spans = []
            try:
                for number in range(self.options.million_kills):
                    self.progress(f"{number + 1}/{self.options.million_kills}")
                    time.sleep(0.3)
                    begin, end, wrong = mount.kill_daemon()
                    spans.append((begin, end))
                    result["times"].append(end - begin)
                    result["done"] += 1
                    self.complain(result, wrong)
                    self.complain(result, self.look_at_some(mount, self.options.many))
            finally:
                self.take_ends(result, crew.stop(), spans)
            self.complain(result, mount.ends_cleanly())

    def look_at_some(self, mount, many):
        wrong = []
        for _ in range(100):
            number = self.chance.randrange(many)
            path = os.path.join(mount.root, f"d{number // 1000}", f"file-{number}")
            try:
                with open(path, encoding="ascii") as file:
                    if file.read() != str(number):
                        wrong.append(f"{path} has other bytes")
            except OSError as error:
                wrong.append(f"{path}: {error.strerror}")
        return wrong

    def hundred(self):
        with self.row("hundred") as result, contextlib.ExitStack() as stack:
            mounts = [stack.enter_context(self.mount("K0")) for _ in range(self.options.mounts)]
            for number in range(self.options.hundred_kills):
                self.progress(f"{number + 1}/{self.options.hundred_kills}")
                before = [mount.stats() for mount in mounts]
                begin = time.monotonic()
                for stats in before:
                    os.kill(stats["pid"], signal.SIGKILL)
                result["times"].append(self.all_answer(result, mounts, before) - begin)
                result["done"] += 1
                time.sleep(0.5)
            for mount in mounts:
                self.complain(result, self.look_at_some(mount, 1000)[:1] + mount.ends_cleanly())

    def all_answer(self, result, mounts, before):
        """Waits until a successor answers at each mount. Returns when the last one did."""
        def answer(mount, was):
            try:
                return mount.wait_until(lambda stats: stats["pid"] != was["pid"], limit=30)[1]
            except Dead as dead:
                return str(dead)

        with ThreadPoolExecutor(len(mounts)) as pool:
            times = list(pool.map(answer, mounts, before))
        self.complain(result, [text for text in times if isinstance(text, str)])
        return max((when for when in times if not isinstance(when, str)), default=time.monotonic())

    def cost(self):
        with self.row("cost") as result:
            with self.mount("K1") as mount:
                words = [os.path.join(self.tools, "bench_workload"), "walk", mount.root]
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
                keeper = mount.stats().get("keeper")
                if not keeper or not running(keeper):
                    raise Dead("the mount has no keeper")
                result["keeper_memory"] = private_bytes(keeper)
                mount.kill_daemon()
                result["keeper_memory_after"] = private_bytes(mount.stats()["keeper"])
            for way in ("on", "off"):
                result["ready_" + way] = []
            for number in range(self.options.ready_rounds):
                self.progress(f"ready {number + 1}/{self.options.ready_rounds}")
                for way in ("on", "off") if number % 2 else ("off", "on"):
                    result["ready_" + way].append(self.ready(way))
            result["done"] = self.options.ready_rounds

    def ready(self, way):
        place = tempfile.mkdtemp(prefix="ready-", dir=self.places)
        package = self.trees["K1"].package(3)
        mount = KeptMount(self.program, package, place, self.environment())
        begin = time.monotonic()
        mount.options = [f"--keeper={way}"]
        with mount:
            os.stat(place)
            return time.monotonic() - begin


def note(result, texts):
    """Keeps each text once, with how often it came."""
    said = result["said"]
    for text in texts:
        if text in said or len(said) < MOST_SAID:
            said[text] = said.get(text, 0) + 1


def private_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        kib = [int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))]
    return sum(kib) << 10


def pauses(gaps, spans):
    """For each span of (kill, first answer), the longest gap that overlaps it."""
    found = []
    for begin, end in spans:
        over = [to - since for since, to in gaps if since <= end and to >= begin]
        found.append(max(over, default=0))
    return found


def longest_outside(gaps, spans):
    """What the scheduler alone does to the probe."""
    return max((to - since for since, to in gaps if not any(since <= end and to >= begin for begin, end in spans)),
               default=0)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None


def summary(result):
    of = result["pauses"]
    return {"p50": median(of) if of else None, "p99": percentile(of, 0.99), "max": max(of, default=None)}
