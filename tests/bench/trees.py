# SPDX-License-Identifier: MIT
"""The trees that are measured, as directories, packages and images, kept in a cache from run to run."""
import base64
import json
import os
import random
import shutil
import subprocess
import sysconfig

# Part of the stamp of everything that is made here: a new number makes all of it anew.
VERSION = 2
LAYERS = 5
BLOCK = 1 << 20


class Tree:
    """What one tree is made of. Everything is made when it is first asked for, beside its place, and renamed to it."""

    def __init__(self, name, cache, tools, seed):
        self.name = name
        self.base = os.path.join(cache, name)
        self.tools = tools
        self.seed = seed
        stamp = {"version": VERSION, "seed": seed}
        path = os.path.join(self.base, "stamp.json")
        if os.path.exists(path) and json.load(open(path, encoding="utf-8")) != stamp:
            shutil.rmtree(self.base)
        os.makedirs(self.base, exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            json.dump(stamp, out)

    def made(self, name, make):
        path = os.path.join(self.base, name)
        if not os.path.lexists(path):
            unfinished = path + ".new"
            if os.path.isdir(unfinished):
                shutil.rmtree(unfinished)
            elif os.path.exists(unfinished):
                os.unlink(unfinished)
            print(f"making {self.name}/{name}", flush=True)
            make(unfinished)
            os.sync()  # or its writing would go on under the first measurements
            os.rename(unfinished, path)
        return path

    def tool(self, name, *words):
        subprocess.run([os.path.join(self.tools, name), *map(str, words)], check=True, stdin=subprocess.DEVNULL)

    # -- as a directory, with its lists

    def directory(self):
        return self.made("dir", self.fill)

    def fill(self, path):
        raise NotImplementedError

    def list_of(self, name):
        """`files` or `all`: a file with the paths, in the order in which a sorted walk meets them."""
        directory = self.directory()

        def make(path):
            with open(path, "w", encoding="utf-8") as out:
                for here, directories, files in os.walk(directory):
                    directories.sort()
                    base = os.path.relpath(here, directory)
                    base = "" if base == "." else base + "/"
                    if name == "all":
                        out.writelines(f"{base}{entry}\n" for entry in sorted(directories))
                    out.writelines(f"{base}{entry}\n" for entry in sorted(files))

        return self.made(name + ".list", make)

    # -- as containers and images

    def package(self, version):
        return self.made(f"v{version}.webc",
                         lambda path: self.tool("bench_make_package", "tree", version, self.directory(), path))

    def squashfs(self):
        """Nothing compressed, so that the file systems are compared and not the compressors."""
        return self.made("squashfs.img", lambda path: run_quietly(
            "mksquashfs", self.directory(), path, "-noI", "-noD", "-noF", "-noX", "-no-duplicates", "-no-progress",
            "-quiet"))

    def erofs(self):
        return self.made("erofs.img", lambda path: run_quietly("mkfs.erofs", path, self.directory()))

    def readable(self, what):
        """The files behind an artifact: they are read before something fresh, to be in the page cache."""
        if not os.path.isdir(what):
            return [what]
        return [os.path.join(here, file) for here, _, files in os.walk(what) for file in files]


def run_quietly(*words):
    result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{words[0]} failed: {result.stdout}")


class SmallFiles(Tree):
    """T1: 20,000 files of 0 to 16 KiB in 1,500 directories, most of them small, as in real trees."""

    FILES = 20_000
    DIRECTORIES = 1_500
    LARGEST = 16 << 10

    def fill(self, path):
        chance = random.Random(self.seed)
        directories = [path]
        os.makedirs(path)
        for number in range(self.DIRECTORIES - 1):
            parent = chance.choice(directories[-200:] if number % 3 else directories)
            if parent.count("/") - path.count("/") > 5:
                parent = path
            directories.append(os.path.join(parent, f"dir-{number:04d}"))
            os.mkdir(directories[-1])
        for number in range(self.FILES):
            where = chance.choice(directories)
            length = 0 if number % 48 == 0 else int(self.LARGEST * chance.random() ** 1.8)
            text = base64.encodebytes(chance.randbytes(length * 3 // 4 + 1))[:length]  # lines, for grep
            suffix = chance.choice([".py", ".txt", ".h", ".js", ".json"])
            with open(os.path.join(where, f"file-{number:05d}{suffix}"), "wb") as out:
                out.write(text)


class PythonTree(Tree):
    """T2: this machine's standard library with its tests and two large packages, compiled as `make install` of CPython
    does, and a program to start."""

    PROGRAM = "bin/bench_exec"
    PACKAGES = ("matplotlib", "numpy")  # the plots need them, so they are there

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.library = "lib/python" + sysconfig.get_python_version()

    def fill(self, path):
        library = os.path.join(path, self.library)
        ignore = shutil.ignore_patterns("__pycache__", "EXTERNALLY-MANAGED", "dist-packages", "site-packages")
        # Links are followed: version 2 has none, and every peer shows the same tree.
        shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=ignore, ignore_dangling_symlinks=True,
                        dirs_exist_ok=True)
        for name in self.PACKAGES:
            package = os.path.join("/usr/lib/python3/dist-packages", name)
            if os.path.isdir(package):
                shutil.copytree(package, os.path.join(library, "site-packages", name), ignore=ignore,
                                ignore_dangling_symlinks=True)
        os.makedirs(os.path.join(path, "bin"))
        shutil.copy(os.path.join(self.tools, "bench_exec"), os.path.join(path, self.PROGRAM))
        # By hash and unchecked: version 2 keeps no times, so that ordinary compiled files would be taken for outdated
        # there, and the import would measure the compiler.
        subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", "-o", "0", "-o", "1", "-o", "2",
                        "--invalidation-mode", "unchecked-hash", library], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # some of the test suite is bad on purpose


class LargeFiles(Tree):
    """T3: two files of 512 MiB."""

    NAMES = ("big0", "big1")
    BLOCKS = 512

    def fill(self, path):
        os.makedirs(path)
        for name in self.NAMES:
            chance = random.Random(f"{self.seed} {name}")
            with open(os.path.join(path, name), "wb") as out:
                for _ in range(self.BLOCKS):
                    out.write(chance.randbytes(BLOCK))


class ManyFiles(Tree):
    """T0 and T4: tiny files, straight into a package."""

    def __init__(self, name, cache, tools, seed, count):
        super().__init__(name, cache, tools, seed)
        self.count = count

    def package(self, version):
        return self.made(f"v{version}.webc",
                         lambda path: self.tool("bench_make_package", "files", version, self.count, path))


class LayeredTree(Tree):
    """T5: five packages over each other, which together show exactly T1: each file in one of them, and a tenth of the
    files again, with other contents, in one below it."""

    def __init__(self, name, cache, tools, seed, flat):
        super().__init__(name, cache, tools, seed)
        self.flat = flat

    def directory(self):
        return self.flat.directory()

    def list_of(self, name):
        return self.flat.list_of(name)

    def layers(self):
        """The directories, the one that wins first."""
        return [os.path.join(self.made("layers", self.fill), str(number)) for number in range(LAYERS)]

    def fill(self, path):
        flat = self.flat.directory()
        chance = random.Random(self.seed)
        for number in range(LAYERS):
            shutil.copytree(flat, os.path.join(path, str(number)), ignore=lambda here, names: [
                name for name in names if not os.path.isdir(os.path.join(here, name))])
        for line in open(self.flat.list_of("files"), encoding="utf-8"):
            name = line.rstrip("\n")
            layer = chance.randrange(LAYERS)
            shutil.copy2(os.path.join(flat, name), os.path.join(path, str(layer), name))
            if layer + 1 < LAYERS and chance.random() < 0.1:
                below = chance.randrange(layer + 1, LAYERS)
                with open(os.path.join(path, str(below), name), "w", encoding="utf-8") as out:
                    out.write("hidden by a layer above\n")

    def registry(self, version):
        return self.made(f"registry-v{version}", lambda path: self.tool(
            "bench_make_package", "layers", version, path, *self.layers()))


def all_trees(cache, tools, seed):
    small = SmallFiles("T1", cache, tools, seed)
    return {
        "T0": ManyFiles("T0", cache, tools, seed, 10),
        "T1": small,
        "T2": PythonTree("T2", cache, tools, seed),
        "T3": LargeFiles("T3", cache, tools, seed),
        "T4": ManyFiles("T4", cache, tools, seed, 1_000_000),
        "T5": LayeredTree("T5", cache, tools, seed, small),
    }
