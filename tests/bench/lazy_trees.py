# SPDX-License-Identifier: MIT
"""The packages that are read over the network, and what is known of their files."""
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys

from trees import BLOCK, ManyFiles, PythonTree, SmallFiles, Tree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../support/registry"))
import webc  # noqa: E402

FETCHED = 4 << 10  # SparseFile::kBlock
PREFIX = 24  # bytes of the beginning of a file by which it is found in a container


class Mixed(Tree):
    """L1: 10,000 small files in 100 directories, with about half of the bytes, and one file with the other half."""

    DIRECTORIES = 100
    LARGE = "zz-large"

    def __init__(self, cache, tools, seed, megabytes):
        super().__init__(f"L1-{megabytes}", cache, tools, seed)
        self.bytes = megabytes * 1_000_000
        self.files = megabytes * 10
        self.large = self.bytes // 2

    def fill(self, path):
        chance = random.Random(f"{self.seed} L1")
        mean = (self.bytes - self.large) // self.files
        for number in range(self.files):
            where = os.path.join(path, f"d{number * self.DIRECTORIES // self.files:03d}")
            os.makedirs(where, exist_ok=True)
            with open(os.path.join(where, f"f{number:05d}"), "wb") as out:
                out.write(chance.randbytes(max(PREFIX, int(2 * mean * chance.random()))))
        with open(os.path.join(path, self.LARGE), "wb") as out:
            for done in range(0, self.large, BLOCK):
                out.write(chance.randbytes(min(BLOCK, self.large - done)))

    def some_files(self, count):
        """A list of the first `count` small files, in random order."""
        directory, container = self.directory(), self.package(3)

        def make(path):
            names = sorted(os.path.relpath(os.path.join(here, file), directory)
                           for here, _, files in os.walk(directory) for file in files if file != self.LARGE)[:count]
            random.Random(self.seed).shuffle(names)
            with open(path, "w", encoding="utf-8") as out:
                out.writelines(f"{name}\n" for name in names)

        path = self.made(f"some-{count}.list", make)
        with open(path, encoding="utf-8") as lines:
            names = [line.rstrip("\n") for line in lines]
        return path, names, needed_blocks(container, directory, names)


def needed_blocks(container, directory, names):
    """The numbers of the blocks in which the bytes of these files are."""
    blocks = set()
    with open(container, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = 0
        for name in sorted(names):
            with open(os.path.join(directory, name), "rb") as one:
                beginning = one.read(PREFIX)
            size = os.path.getsize(os.path.join(directory, name))
            found = content.find(beginning, at)
            found = found if found >= 0 else content.find(beginning)
            if found < 0:
                raise RuntimeError(f"{name} isn't in {container}")
            at = found + size
            blocks.update(range(found // FETCHED, (at - 1) // FETCHED + 1))
    return blocks


def runs_of(blocks):
    """How many runs of adjacent blocks there are."""
    return sum(1 for block in blocks if block - 1 not in blocks)


class Interpreter(PythonTree):
    """L3: T2 with the interpreter itself."""

    PYTHON = "bin/python3"

    def fill(self, path):
        super().fill(path)
        shutil.copy(os.path.realpath("/usr/bin/python3"), os.path.join(path, self.PYTHON))


def directory_data(container):
    """How many bytes of a container of version 3 describe its directories, and how many it has."""
    with open(container, "rb") as file:
        file.seek(8)
        index = webc.decode(webc.section(file, hashed=False))
        volumes = index.get("volumes") or {}
        total = 0
        for name, entry in volumes.items():
            file.seek(entry["span"]["start"] + 41 + 8 + len(name.encode()))
            total += struct.unpack("<Q", file.read(8))[0]
    return total, os.path.getsize(container)


def lazy_trees(cache, tools, seed, megabytes, many):
    return {
        "L1": Mixed(cache, tools, seed, megabytes),
        "L2": SmallFiles("T1", cache, tools, seed),
        "L3": Interpreter("L3", cache, tools, seed),
        "L4": ManyFiles(f"L4-{many}", cache, tools, seed, many),
    }


def fetched_by_curl(url, count):
    """Seconds in which curl gets the first `count` bytes."""
    done = subprocess.run(["curl", "-sS", "-f", "-o", "/dev/null", "-r", f"0-{count - 1}", "-w",
                           "%{time_total} %{size_download}", url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, check=True)
    seconds, size = done.stdout.split()
    if int(size) != count:
        raise RuntimeError(f"curl got {size} bytes of {url}")
    return float(seconds)
