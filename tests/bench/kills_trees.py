# SPDX-License-Identifier: MIT
"""The package whose mount is killed: something for each reader, with a copy of its tree to compare with."""
import os
import random
import subprocess

from trees import BLOCK, ManyFiles, SmallFiles, Tree, run_quietly

MODULES = "python"  # the directory that readers import from


class KilledTree(Tree):
    """Small files, Python modules, files to map, and a directory with many names."""

    SMALL = 2000
    IMPORTED = 300
    MAPPED = 8
    NAMES = 4000

    def __init__(self, name, cache, tools, seed, program):
        super().__init__(name, cache, tools, seed)
        self.program = program

    def fill(self, path):
        small = SmallFiles(self.name + "-small", os.path.dirname(self.base), self.tools, self.seed)
        small.FILES, small.DIRECTORIES = self.SMALL, self.SMALL // 10
        os.makedirs(path)
        small.fill(os.path.join(path, "small"))
        chance = random.Random(self.seed)
        modules = os.path.join(path, MODULES)
        os.mkdir(modules)
        for number in range(self.IMPORTED):
            before = f"import module{number - 1}\n" if number % 10 else ""
            with open(os.path.join(modules, f"module{number}.py"), "w", encoding="ascii") as out:
                out.write(f"{before}VALUE = {chance.randrange(1 << 60)}\n" + f"# {'x' * 70}\n" * (number % 50))
        subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", modules],
                       check=True)
        os.mkdir(os.path.join(path, "mapped"))
        for number in range(self.MAPPED):
            with open(os.path.join(path, "mapped", f"file{number}"), "wb") as out:
                for _ in range(8):
                    out.write(chance.randbytes(BLOCK))
        os.mkdir(os.path.join(path, "names"))
        for number in range(self.NAMES):
            with open(os.path.join(path, "names", f"name-{number:05d}"), "w", encoding="ascii") as out:
                out.write(str(number))

    def source(self):
        """What `pkgfs extract` makes of the package: with the modes and times of a mount."""
        return self.made("source", lambda path: run_quietly(
            self.program, "extract", "--offline", self.package(3), path))


def killed_trees(cache, tools, seed, program, many):
    return {"K1": KilledTree("K1", cache, tools, seed, program), "K0": ManyFiles("K0", cache, tools, seed, 1000),
            "K4": ManyFiles(f"K4-{many}", cache, tools, seed, many)}
