#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One reader of a mount, in a process of its own: reads until SIGTERM, compares every byte with the source tree, and
writes what it found as JSON. tests/bench/kills starts it."""
import argparse
import errno
import fcntl
import hashlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
MOST_KEPT = 20  # texts of errors
GAP = 200e-6  # seconds; the probe keeps no shorter ones


def output(words, root, right=(0,)):
    """Of a program with `root` as its working directory. A message or another exit code is an error."""
    done = subprocess.run(words, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode not in right or done.stderr:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{words[0]} ends with {done.returncode}: {said[-300:]}")
    return done.stdout


def entries(root):
    return sorted(os.listdir(root))


def files_below(root):
    return sorted(os.path.relpath(os.path.join(here, name), root) for here, _, names in os.walk(root) for name in names)


def forget(path):
    """Drops the pages of a file from the page cache, so that the next read is a request."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Reader:
    """`round` reads once and returns what it saw; `expected` is the same of the source tree."""

    def __init__(self, options):
        self.options = options
        self.root = options.mount
        self.chance = random.Random(options.seed)
        self.rounds = 0
        self.errors = []
        self.wrong = []
        self.number_of_errors = self.number_of_wrong = 0
        self.ends = False
        signal.signal(signal.SIGTERM, self.stop)
        self.files = files_below(options.source)
        self.right = self.look(options.source)

    def stop(self, *_):
        self.ends = True

    def look(self, root):
        raise NotImplementedError

    def round(self):
        self.compare(self.look(self.root), self.right)

    def compare(self, seen, right, what="the round"):
        if seen != right:
            self.number_of_wrong += 1
            if len(self.wrong) < MOST_KEPT:
                self.wrong.append([time.monotonic(), f"{what} differs: {describe_difference(seen, right)}"])

    def failed(self, error):
        self.number_of_errors += 1
        if len(self.errors) < MOST_KEPT:
            self.errors.append([time.monotonic(), f"{type(error).__name__}: {error}"[:400]])

    def run(self):
        print("ready", flush=True)
        while not self.ends:
            try:
                self.round()
            except (OSError, RuntimeError, ValueError) as error:
                self.failed(error)
                time.sleep(0.05)  # a dead mount fails at once, for ever
            self.rounds += 1
        self.write_result()

    def write_result(self, **more):
        with open(self.options.result, "w", encoding="utf-8") as out:  # too much for a pipe that is read at the end
            json.dump({"kind": self.options.kind, "rounds": self.rounds, "errors": self.number_of_errors,
                       "wrong": self.number_of_wrong, "said": self.errors + self.wrong, **more}, out)


def describe_difference(seen, right):
    if isinstance(seen, bytes) and isinstance(right, bytes):
        at = next((at for at, pair in enumerate(zip(seen, right)) if pair[0] != pair[1]), min(len(seen), len(right)))
        return f"{len(seen)} bytes and not {len(right)}, first at {at}: {seen[at:at + 80]!r}, not {right[at:at + 80]!r}"
    return f"{str(seen)[:80]} and not {str(right)[:80]}"


class Find(Reader):
    """Names, kinds, lengths, modes, times; the inode numbers are those of the first round."""

    inodes = None

    def look(self, root):
        listed = output(["find", ".", "-mindepth", "1", "-printf", r"%P\t%y\t%#m\t%T@\t%l\t%s\t%i\n"], root)
        lines = []
        inodes = []
        for line in sorted(listed.splitlines()):
            words = line.split(b"\t")
            inodes.append(words.pop())
            if words[1] == b"d":
                words.pop()  # the length depends on the file system
            lines.append(b"\t".join(words))
        if root == self.root:
            self.inodes = self.inodes or inodes
            self.compare(b"\n".join(inodes), b"\n".join(self.inodes), "inode numbers")
        return b"\n".join(lines)


class Tar(Reader):
    def look(self, root):
        words = ["tar", "c", "--sort=name", "--format=gnu", "--", *entries(root)]
        with tempfile.TemporaryFile() as messages:  # a pipe would be full of them
            with subprocess.Popen(words, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=messages) as tar:
                seen = hashlib.sha256()
                while block := tar.stdout.read(1 << 20):
                    seen.update(block)
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip()
        if tar.returncode != 0 or said:
            raise RuntimeError(f"tar ends with {tar.returncode}: {said[-300:]}")
        return seen.hexdigest()

    def round(self):
        for name in self.files[self.rounds % 3::3]:
            forget(os.path.join(self.root, name))
        super().round()


class Grep(Reader):
    def look(self, root):
        return b"\n".join(sorted(output(["grep", "-arnF", "--", "4Q", *entries(root)], root, (0, 1)).splitlines()))

    def round(self):
        for name in self.files[self.rounds % 3::3]:
            forget(os.path.join(self.root, name))
        super().round()


class Mapped(Reader):
    """Touches cold pages of mapped files in random order. An error of the mount is a SIGBUS, which ends the reader."""

    BLOCK = 64 << 10
    BLOCKS_EACH = 64

    def look(self, root):
        return None

    def round(self):
        names = [name for name in self.files if name.startswith("mapped/")]
        name = self.chance.choice(names)
        path = os.path.join(self.root, name)
        forget(path)
        with open(path, "rb") as mine, open(os.path.join(self.options.source, name), "rb") as right, \
                mmap.mmap(mine.fileno(), 0, prot=mmap.PROT_READ) as seen, \
                mmap.mmap(right.fileno(), 0, prot=mmap.PROT_READ) as expected:
            for _ in range(self.BLOCKS_EACH):
                at = self.chance.randrange(len(expected) // self.BLOCK) * self.BLOCK
                self.compare(seen[at:at + self.BLOCK], expected[at:at + self.BLOCK], f"{name} at {at}")


class Import(Reader):
    """A new Python each time, which imports all modules of the mount."""

    PROGRAM = ("import glob, importlib, os, sys\n"
               "sys.path.insert(0, os.path.abspath('python'))\n"
               "names = sorted(name[:-3] for name in os.listdir('python') if name.endswith('.py'))\n"
               "print([importlib.import_module(name).VALUE for name in names])\n")

    def look(self, root):
        return output(["/usr/bin/python3", "-I", "-S", "-B", "-c", self.PROGRAM], root)

    def round(self):
        for name in self.files:
            if name.startswith("python/"):
                forget(os.path.join(self.root, name))
        super().round()


class Fresh(Tar):
    """A new mount each round, whose first touch is a walk or, by name, reads that make the daemon prefetch. The lock
    keeps the unmount apart from the kill: the caller's killer holds it from the kill until the mount answers."""

    def round(self):
        self.root = os.path.join(self.options.mount, f"{self.options.kind}-{self.rounds}")
        os.mkdir(self.root)
        output([self.options.program, "mount", "--offline", self.options.package, self.root], "/")
        ready = self.root + ".ready"
        try:
            with open(ready, "w", encoding="ascii"):
                pass
            if self.options.kind == "push":
                self.read_by_name()
            else:
                self.compare(self.look(self.root), self.right)
        finally:
            with open(ready, "r+", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.unlink(ready)
                output([self.options.program, "unmount", self.root], "/")
                os.rmdir(self.root)

    def read_by_name(self):
        for name in self.files:
            with open(os.path.join(self.root, name), "rb") as mine, \
                    open(os.path.join(self.options.source, name), "rb") as right:
                self.compare(mine.read(), right.read(), name)


class Probe(Reader):
    """Asks all the time what the kernel never answers itself, and keeps the gaps between two answers. It has a higher
    priority than the readers, so that it measures the mount and not the scheduler."""

    NAME = "user.absent"

    def look(self, root):
        return None

    def run(self):
        try:
            os.nice(-15)
        except OSError:
            pass
        gaps = []
        print("ready", flush=True)
        last = time.monotonic()
        while not self.ends:
            try:
                os.getxattr(self.root, self.NAME)
                self.failed(RuntimeError("an absent attribute has a value"))
            except OSError as error:
                if error.errno != errno.ENODATA:
                    self.failed(error)
                    time.sleep(0.01)
            now = time.monotonic()
            if now - last >= GAP:
                gaps.append([last, now])
            last = now
            self.rounds += 1
            if self.rounds % 64 == 0:
                time.sleep(0.0003)  # or it keeps the daemon busy, and one CPU
                last = time.monotonic()
        self.write_result(gaps=gaps)


KINDS = {"find": Find, "tar": Tar, "grep": Grep, "mmap": Mapped, "import": Import, "fresh": Fresh, "push": Fresh,
         "probe": Probe}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("mount", help="of fresh and push: the directory for mount points")
    parser.add_argument("source")
    parser.add_argument("result", help="the file that gets what the reader found")
    parser.add_argument("--program")
    parser.add_argument("--package")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    KINDS[options.kind](options).run()


if __name__ == "__main__":
    main()
