# SPDX-License-Identifier: MIT
"""Measures mounts whose packages are read over the network: the rows of the command lazy."""
import contextlib
import glob
import os
import random
import shutil
import tempfile
import threading
import time

from lazy_network import Network
from lazy_trees import directory_data, fetched_by_curl, runs_of
from measure import Bench
from peers import Mount, Pkgfs
from results import median

PROGRAM = "import json, http.client"
WHOLE_LIMIT = 600  # seconds
READERS = 50
SOME_FILES = 2000
BACKGROUND_BEGINS = 1.5  # seconds after which the background works if nobody reads


def sum_of_all(requests):
    """Of all kinds but those that ask for the counts."""
    return sum(count for kind, count in requests.items() if kind != "getxattr")


class MemoryWatch(threading.Thread):
    """The peak of a daemon's anonymous memory in KiB, as far as a look every few milliseconds finds it."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path = f"/proc/{pid}/status"
        self.peak = 0
        self.ends = threading.Event()

    def run(self):
        while not self.ends.wait(0.005):
            with contextlib.suppress(OSError), open(self.path, encoding="utf-8") as lines:
                for line in lines:
                    if line.startswith("RssAnon:"):
                        self.peak = max(self.peak, int(line.split()[1]))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()


class LazyBench(Bench):
    """`found` gets every measurement: a list for each name."""

    def __init__(self, trees, options, places, progress):
        super().__init__(trees, os.path.join(options.build, "tests/bench"), places, options.seed)
        self.options = options
        self.program = os.path.join(options.build, "pkgfs")
        self.progress = progress
        self.found = {}
        self.facts = {}

    def take(self, name, value):
        self.found.setdefault(name, []).append(value)

    @contextlib.contextmanager
    def network(self, tree, full_speed=False):
        rtt, mbit = (0, 0) if full_speed else (self.options.rtt, self.options.mbit)
        with Network(self.options.build, tree.package(3), self.places, rtt, mbit) as network:
            yield network

    @contextlib.contextmanager
    def home(self):
        """An empty cache of packages, for the mounts within."""
        before = os.environ["WASMER_DIR"]
        place = tempfile.mkdtemp(prefix="home-", dir=self.places)
        os.environ["WASMER_DIR"] = place
        try:
            yield place
        finally:
            os.environ["WASMER_DIR"] = before
            shutil.rmtree(place, ignore_errors=True)

    @contextlib.contextmanager
    def lazy_mount(self, network, package, *words):
        """A mount of a package of the registry. A new one: `home` has nothing of it, unless the caller says so."""
        mountpoint = tempfile.mkdtemp(prefix="at-", dir=self.places)
        options = ["--registry", network.endpoint, "--lazy=auto", *words]  # of the same option, the last one counts
        command = [self.program, "mount", *options, package, mountpoint]
        with self.begun(Pkgfs("pkgfs", self.program), mountpoint, command) as mount:
            yield mount

    @staticmethod
    def wait_until_whole(home):
        end = time.monotonic() + WHOLE_LIMIT
        while time.monotonic() < end:
            for _, _, files in os.walk(home):
                if any(file.endswith(".bin") for file in files):
                    return time.sleep(0.2)  # the daemon still makes the mount a local one
            time.sleep(0.05)
        raise RuntimeError("the package doesn't become complete")

    # -- rows

    def mount_and_first_byte(self):
        """Rows 1 and 2, and the large file against curl."""
        tree = self.trees["L1"]
        self.facts["L1 directory data"], self.facts["L1 bytes"] = directory_data(tree.package(3))
        _, names, blocks = tree.some_files(min(SOME_FILES, tree.files))
        del blocks
        chance = random.Random(self.seed)
        with self.network(tree) as network:
            for number in range(self.options.rounds):
                self.progress(f"mount  {number + 1}/{self.options.rounds}")
                self.one_mount(network, [chance.choice(names) for _ in range(2)])
            for number in range(self.options.slow_rounds):
                self.progress(f"download, then mount  {number + 1}/{self.options.slow_rounds}")
                with self.home(), self.lazy_mount(network, "bench/tree", "--lazy=off") as mount:
                    self.take("downloaded mount", mount.answered_ns / 1e9)
            url = network.authority + network.registry.file_path("bench/tree")
            for number in range(self.options.slow_rounds):
                self.progress(f"a large file  {number + 1}/{self.options.slow_rounds}")
                self.take("curl", fetched_by_curl(url, tree.large))
                with self.home(), self.lazy_mount(network, "bench/tree") as mount:
                    self.take("sequential", self.run(["sequential", mount.root, tree.LARGE])["ns"] / 1e9)

    def one_mount(self, network, names):
        with self.home(), self.lazy_mount(network, "bench/tree") as mount:
            self.take("mount", mount.answered_ns / 1e9)
            self.take("first byte", self.first_byte(mount, names[0]))
            time.sleep(BACKGROUND_BEGINS)
            self.take("first byte, background", self.first_byte(mount, names[1]))
        network.files.clear()
        before = network.connections()
        with self.home(), self.lazy_mount(network, "bench/tree", "--background=off"):
            seen = network.files.requests()
            self.take("mount requests", seen["requests"])
            self.take("mount connections", network.connections() - before)
            self.take("mount bytes", seen["bytes"])

    @staticmethod
    def first_byte(mount, name):
        path = os.path.join(mount.root, name)
        begin = time.monotonic()
        with open(path, "rb", buffering=0) as file:
            if len(file.read(1)) != 1:
                raise RuntimeError(f"{path} is empty")
        return time.monotonic() - begin

    def program_start(self):
        tree = self.trees["L3"]
        self.facts["L3 bytes"] = directory_data(tree.package(3))[1]

        def start(mount):
            # Containers store no modes. To find programs (--exec=auto), the daemon would have to look into all files.
            machine = os.uname().machine.replace("_", "-")
            loader = glob.glob(f"/lib*/ld-linux-{machine}.so.*")[0]
            return self.run(["command", mount.root, "env", f"PYTHONHOME={mount.root}", "PYTHONDONTWRITEBYTECODE=1",
                             loader, os.path.join(mount.root, tree.PYTHON), "-c", PROGRAM])["ns"]

        with self.network(tree) as network:
            for number in range(self.options.rounds):
                self.progress(f"Python  {number + 1}/{self.options.rounds}")
                with self.home(), self.lazy_mount(network, "bench/tree") as mount:
                    self.take("lazy Python", (mount.answered_ns + start(mount)) / 1e9)
                with self.home(), self.lazy_mount(network, "bench/tree", "--background=off") as mount:
                    network.files.clear()
                    start(mount)
                    seen = network.files.requests()
                    self.take("Python bytes fetched", seen["bytes"])
                    self.take("Python requests", seen["requests"])
                    self.take("Python bytes read", mount.statistics()["bytes_read"])
            profiles = self.python_profile(network, start)
            for number in range(self.options.rounds):
                self.progress(f"Python, with a profile  {number + 1}/{self.options.rounds}")
                with self.home() as home:
                    self.put_profiles(home, profiles)
                    with self.lazy_mount(network, "bench/tree") as mount:
                        begun = start(mount)
                        self.take("profiled mount", mount.answered_ns / 1e9)
                        self.take("profiled Python", (mount.answered_ns + begun) / 1e9)
                with self.home() as home:
                    self.put_profiles(home, profiles)
                    network.files.clear()
                    with self.lazy_mount(network, "bench/tree", "--background=off") as mount:
                        start(mount)
                        seen = network.files.requests()
                        self.take("profiled Python bytes fetched", seen["bytes"])
                        self.take("profiled Python requests", seen["file_requests"])
            for _ in range(self.options.slow_rounds):
                self.progress("Python, downloaded first")
                with self.home(), self.lazy_mount(network, "bench/tree", "--lazy=off") as mount:
                    self.take("downloaded Python", (mount.answered_ns + start(mount)) / 1e9)

    def python_profile(self, network, start):
        """What a mount records while Python starts from it: texts by the names of their files."""
        with self.home() as home:
            with self.lazy_mount(network, "bench/tree", "--background=off") as mount:
                start(mount)
            found = {}
            for path in glob.glob(os.path.join(home, "**/*.profile"), recursive=True):
                with open(path, encoding="utf-8") as file:
                    found[os.path.relpath(path, home)] = file.read()
        if len(found) != 1:
            raise RuntimeError("a lazy mount leaves no profile")
        return found

    @staticmethod
    def put_profiles(home, profiles):
        for name, text in profiles.items():
            path = os.path.join(home, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
                file.write(text)

    def many_readers(self):
        tree = self.trees["L1"]
        path, names, blocks = tree.some_files(min(SOME_FILES, tree.files))
        self.facts["readers' files"] = len(names)
        self.facts["readers' blocks"] = len(blocks)
        self.facts["readers' runs"] = runs_of(blocks)
        with self.network(tree) as network:
            for number in range(self.options.rounds):
                self.progress(f"{READERS} readers  {number + 1}/{self.options.rounds}")
                with self.home(), self.lazy_mount(network, "bench/tree", "--background=off") as mount:
                    network.files.clear()
                    self.take("readers", self.run(["read", mount.root, path, str(READERS)])["ns"] / 1e9)
                    seen = network.files.requests()
                    self.take("readers' bytes", seen["bytes"])
                    self.take("readers' requests", seen["file_requests"])

    def many_files(self):
        tree = self.trees["L4"]
        self.facts["L4 directory data"], self.facts["L4 bytes"] = directory_data(tree.package(3))
        self.progress("many files")
        with self.network(tree) as network, self.home():
            network.files.clear()
            with self.lazy_mount(network, "bench/files", "--lazy=on", "--background=off") as mount:
                self.take("many files mount", mount.answered_ns / 1e9)
                seen = network.files.requests()
                self.take("many files bytes", seen["bytes"])
                self.take("many files requests", seen["requests"])
                self.walk_and_weigh(mount, "many files lazy memory")
                self.take("many files bytes walked", network.files.requests()["bytes"] - seen["bytes"])
            mountpoint = tempfile.mkdtemp(prefix="at-", dir=self.places)
            local = Mount(Pkgfs("pkgfs", self.program), mountpoint)
            try:
                self.run(["ready", mountpoint, self.program, "mount", "--offline", tree.package(3), mountpoint])
                local.find_daemon()
                self.walk_and_weigh(local, "many files local memory")
            finally:
                local.end()
                os.rmdir(mountpoint)

    def walk_and_weigh(self, mount, name):
        self.run(["walk", mount.root])
        self.take(name, mount.memory()["anonymous"])

    def after_completion(self):
        """A mount that was lazy, and then the same package from the cache, each with a new kernel cache."""
        tree = self.trees["L2"]
        files = tree.list_of("files")
        rows = [("fresh walk", ["walk"], False), ("fresh read", ["read", files, "1"], False),
                ("warm read", ["read", files, "1"], False), ("warm walk", ["walk"], False)]
        if os.geteuid() == 0:
            rows.append(("cold read", ["read", files, "1"], True))
        with self.network(tree, full_speed=True) as network:
            for number in range(self.options.local_rounds):
                self.progress(f"after completion  {number + 1}/{self.options.local_rounds}")
                with self.home() as home:
                    with self.lazy_mount(network, "bench/tree", "--lazy=on") as mount:
                        self.wait_until_whole(home)
                        turns = [("was lazy", mount)]
                        with self.lazy_mount(network, "bench/tree", "--offline") as local:
                            turns.append(("local", local))
                            for row, words, cold in rows:
                                for who, which in turns if number % 2 else turns[::-1]:
                                    if cold:
                                        self.drop_caches()
                                    before = which.statistics()["requests"]
                                    done = self.run([words[0], which.root, *words[1:]])
                                    self.take(f"{who} {row}", done["ns"] / 1e9)
                                    self.take(f"{who} {row} requests",
                                              sum_of_all(which.statistics()["requests"]) - sum_of_all(before))

    def memory(self):
        """The daemon's peak while everything is read and fetched at once, over both networks."""
        tree = self.trees["L1"]
        self.facts["L1 directory data"], self.facts["L1 bytes"] = directory_data(tree.package(3))
        path, _, _ = tree.some_files(min(SOME_FILES, tree.files))
        for full_speed, name in ((False, "peak"), (True, "peak at full speed")):
            self.progress(f"memory: {name}")
            with self.network(tree, full_speed) as network, self.home() as home:
                with self.lazy_mount(network, "bench/tree") as mount, MemoryWatch(mount.pid) as watch:
                    self.run(["walk", mount.root])
                    self.run(["read", mount.root, path, str(READERS)])
                    self.run(["sequential", mount.root, tree.LARGE])
                    if full_speed:
                        self.wait_until_whole(home)
                self.take(name, watch.peak)

    def measured(self, name):
        return median(self.found[name]) if name in self.found else None
