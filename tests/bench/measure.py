# SPDX-License-Identifier: MIT
"""Mounts, runs a row, and takes down what it cost."""
import contextlib
import json
import os
import random
import subprocess
import time

from peers import Mount
from trees import ManyFiles

CLIENT = "bench_workload"


class Bench:
    def __init__(self, trees, tools, places, seed):
        self.trees = trees
        self.client = os.path.join(tools, CLIENT)
        self.places = places  # where mountpoints are made
        self.seed = seed
        self.samples = []
        self.seen = {}  # (tree, row): what everybody must have seen
        self.primed = set()
        self.number = 0

    # -- the client

    def run(self, words):
        result = subprocess.run([self.client, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(words)[:200]}: {result.stderr.strip()}")
        return json.loads(result.stdout.splitlines()[-1])

    # -- the page cache

    def prime(self, peer, tree, programs=False):
        """Gets what is behind the mount into the page cache."""
        source = peer.backing(tree, programs)
        if source in self.primed:
            return
        buffer = bytearray(8 << 20)
        for path in tree.readable(source):
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        self.primed.add(source)

    def drop_caches(self):
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3\n")
        self.primed.clear()

    # -- mounts

    @contextlib.contextmanager
    def mounted(self, peer, tree, programs=False):
        mountpoint = os.path.join(self.places, f"{self.number}-{peer.name}")
        command = peer.command(tree, mountpoint, programs)
        if command is None:
            yield Mount(peer, tree.directory())
            return
        self.number += 1
        os.mkdir(mountpoint)
        with self.begun(peer, mountpoint, command) as mount:
            yield mount

    @contextlib.contextmanager
    def begun(self, peer, mountpoint, command):
        """What `command` mounts at the empty directory `mountpoint`; at the end, both are gone."""
        mount = Mount(peer, mountpoint)
        try:
            took = self.run(["ready", mountpoint, *command])
            mount.answered_ns = took["ns"]
            mount.find_daemon()
            yield mount
        finally:
            mount.end()
            os.rmdir(mountpoint)

    # -- rows

    def measure(self, mount, tree, row, counter=None):
        if row.cold:
            self.drop_caches()
        before = mount.statistics()
        before_cpu = mount.cpu_ns()
        counted = {}
        if counter:
            with counter.counting(mount.root) as counted:
                result = self.run(row.arguments(tree, mount.root))
        else:
            result = self.run(row.arguments(tree, mount.root))
        daemon_ns = mount.cpu_ns() - before_cpu
        own = difference(before, mount.statistics())
        self.check(tree, row, mount, result)
        return {"ns": result["ns"], "client_ns": result["user_ns"] + result["system_ns"], "daemon_ns": daemon_ns,
                "requests": own and own.pop("requests"), "own": own, "counted": counted, **mount.memory()}

    def check(self, tree, row, mount, result):
        seen = (result["entries"], result["bytes"], result["sum"])
        expected = self.seen.setdefault((tree.name, row.name), seen)
        if seen != expected:
            raise RuntimeError(f"{mount.peer.name} shows something else in {tree.name} {row.name}: "
                               f"{seen} and not {expected}")

    def run_group(self, number, group, wanted, peer, counter=None):
        """One group of rows for one peer; `number` is that of the round."""
        tree = self.trees[group.tree]
        self.prime(peer, tree, group.programs)
        samples = []
        with self.mounted(peer, tree, group.programs) as mount:
            for row in group.rows:
                if row.arguments is None:
                    if mount.answered_ns is None:
                        continue
                    sample = {"ns": mount.answered_ns, "client_ns": 0, "daemon_ns": mount.cpu_ns(), **mount.memory()}
                else:
                    sample = self.measure(mount, tree, row, counter)
                if row.name in wanted:
                    samples.append({"round": number, "tree": group.tree, "row": row.name, "peer": peer.name, **sample})
        return samples

    def rounds(self, count, groups, peers, progress):
        """Everybody takes turns at each group of rows, in another order each time."""
        chance = random.Random(self.seed)
        for number in range(count):
            for group, wanted in groups:
                if group.once and number > 0:
                    continue
                tree = self.trees[group.tree]
                turn = [peer for peer in peers if peer.shows(tree)]
                chance.shuffle(turn)
                for peer in turn:
                    progress(f"round {number + 1}/{count}  {group.tree} {group.rows[0].name}...  {peer.name}")
                    turns = [self.run_group(number, group, wanted, peer) for _ in range(group.repeat)]
                    for same in zip(*turns):
                        self.samples.append(sorted(same, key=lambda sample: sample["ns"])[len(same) // 2])

    def count_requests(self, groups, peers, counter, progress):
        """A round that isn't timed: counting costs time."""
        counts = []
        for group, wanted in groups:
            for peer in peers:
                if peer.daemon and peer.shows(self.trees[group.tree]) and group.rows[0].arguments is not None:
                    progress(f"counting  {group.tree} {group.rows[0].name}...  {peer.name}")
                    counts += [{"tree": sample["tree"], "row": sample["row"], "peer": sample["peer"],
                                "requests": sample["counted"]}
                               for sample in self.run_group(0, group, wanted, peer, counter)]
        return counts

    def compare_contents(self, peers, trees, progress):
        """Every byte of every file, once for each peer."""
        for name in trees:
            tree = self.trees[name]
            expected = None
            for peer in sorted(peers, key=lambda peer: peer.name != "ext4"):
                if isinstance(tree, ManyFiles) or not peer.shows(tree):
                    continue
                progress(f"comparing  {name}  {peer.name}")
                with self.mounted(peer, tree) as mount:
                    result = self.run(["contents", mount.root, tree.list_of("files")])
                seen = (result["entries"], result["bytes"], result["sum"])
                expected = expected or seen
                if seen != expected:
                    raise RuntimeError(f"{peer.name} has other bytes in {name}")

    def idle(self, peers, tree, seconds, progress):
        """CPU of daemons with nothing to do, after all files were read; all at the same time."""
        found = []
        with contextlib.ExitStack() as stack:
            mounts = [stack.enter_context(self.mounted(peer, tree)) for peer in peers if peer.daemon and
                      peer.shows(tree)]
            for mount in mounts:
                self.run(["walk", mount.root])
                self.run(["read", mount.root, tree.list_of("files"), "1"])
            time.sleep(2)  # what was started may come to its end
            before = [mount.cpu_ns() for mount in mounts]
            progress(f"idle for {seconds} s")
            time.sleep(seconds)
            for mount, was in zip(mounts, before):
                found.append({"peer": mount.peer.name, "seconds": seconds, "daemon_ns": mount.cpu_ns() - was,
                              **mount.memory()})
        return found


def difference(before, after):
    """Of counts, within counts; the question itself (getxattr) doesn't count."""
    if before is None or after is None:
        return None
    return {name: difference(before.get(name, {}), value) if isinstance(value, dict) else value - before.get(name, 0)
            for name, value in after.items() if isinstance(value, (dict, int, float)) and name != "getxattr"}
