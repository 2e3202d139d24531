# SPDX-License-Identifier: MIT
"""What is measured, in order: groups of rows that share a mount."""
import dataclasses
import fnmatch

RANDOM_READS = 4096
OPENS = 10_000
STARTS = 200
READY_REPEAT = 5
# What an ordinary program takes in: a few hundred modules of the standard library.
IMPORT = """
import importlib, sys
for name in ("argparse asyncio bz2 collections concurrent.futures csv ctypes datetime decimal difflib email.mime.text "
             "fractions ftplib functools hashlib html.parser http.client http.server imaplib inspect ipaddress json "
             "logging.config lzma multiprocessing.pool optparse pathlib pdb pickle platform pprint pydoc random sched "
             "shelve smtplib socketserver sqlite3 statistics subprocess tarfile tempfile unittest.mock urllib.request "
             "uuid wave xml.dom.minidom xml.etree.ElementTree xmlrpc.client zipfile zoneinfo").split():
    importlib.import_module(name)
outside = [name for name, module in sys.modules.items()
           if getattr(module, "__file__", None) and not module.__file__.startswith(sys.argv[1] + "/")]
assert not outside, outside
"""


@dataclasses.dataclass
class Row:
    """One measurement. `arguments` gets the tree and the root, and returns those of bench_workload."""

    name: str
    arguments: object
    cold: bool = False  # empties the page cache first
    needs: tuple = ()  # rows that must have run on the same mount


@dataclasses.dataclass
class Group:
    tree: str
    rows: list
    once: bool = False  # not once a round but once a run
    repeat: int = 1  # so many times, and the median of them: for what is short
    programs: bool = False  # files that start like a program must be executable
    extra: bool = False  # only when the rows are named


def plain(kind, *rest):
    return lambda tree, root: [kind, root, *map(str, rest)]


def listed(kind, which, *rest):
    return lambda tree, root: [kind, root, tree.list_of(which), *map(str, rest)]


def shell(command):
    return lambda tree, root: ["command", root, "sh", "-c", command]


def import_modules(tree, root):
    home = f"PYTHONHOME={root}"
    path = f"PYTHONPATH={root}/{tree.library}:{root}/{tree.library}/lib-dynload"
    return ["command", root, "env", home, path, "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3", "-S", "-c", IMPORT,
            root]


# tar looks whether its output is /dev/null, and reads nothing then.
TAR = shell("tar cf - . | cat >/dev/null")
GREP = shell("! grep -r --binary-files=text 'no such text' .")

WALK = plain("walk")
READ = listed("read", "files", 1)
READ4 = listed("read", "files", 4)


def ready(*names):
    return [Group(name, [Row("mount_ready", None)], repeat=READY_REPEAT) for name in names]


def on_file(kind, *rest):
    """On a large file; big0 is read in order, big1 at random."""
    name = "big0" if kind == "sequential" else "big1"
    return plain(kind, name, *rest)


GROUPS = [
    *ready("T0", "T1", "T4"),
    Group("T1", [
        Row("fresh_walk", WALK),
        Row("fresh_read", READ, needs=("fresh_walk",)),
        Row("warm_walk", WALK, needs=("fresh_walk", "fresh_read")),
        Row("warm_lstat", listed("lstat", "all", 5), needs=("fresh_walk",)),
        Row("absent_first", listed("absent", "files", 1), needs=("fresh_walk",)),
        Row("absent_again", listed("absent", "files", 5), needs=("absent_first",)),
        Row("warm_read", READ, needs=("fresh_walk", "fresh_read")),
        Row("warm_read4", READ4, needs=("fresh_walk", "fresh_read")),
        Row("warm_tar", TAR, needs=("fresh_walk", "fresh_read")),
        Row("warm_grep", GREP, needs=("fresh_walk", "fresh_read")),
        Row("warm_open", lambda tree, root: ["open", root, first_file(tree), str(OPENS)], needs=("fresh_walk",)),
    ]),
    Group("T1", [Row("fresh_tar", TAR)]),
    Group("T1", [Row("fresh_grep", GREP)]),
    Group("T1", [Row("cold_walk", WALK, cold=True), Row("cold_read", READ, cold=True)]),
    Group("T1", [Row("cold_tar", TAR, cold=True)]),
    Group("T2", [Row("fresh_read4", READ4)]),
    *[Group("T2", [Row(f"readers_{count}", listed("read", "files", count))], extra=True) for count in (1, 2, 4, 8, 16)],
    Group("T2", [Row("fresh_import", import_modules), Row("warm_import", import_modules, needs=("fresh_import",))]),
    Group("T2", [Row("fresh_exec", plain("exec", "bin/bench_exec", 1)),
                 Row("warm_exec", plain("exec", "bin/bench_exec", STARTS), needs=("fresh_exec",))], programs=True),
    Group("T2", [Row("cold_import", import_modules, cold=True)]),
    Group("T3", [Row("fresh_sequential", on_file("sequential")),
                 Row("warm_sequential", on_file("sequential"), needs=("fresh_sequential",))]),
    Group("T3", [Row("fresh_random", on_file("random", 1, RANDOM_READS, 1)),
                 Row("warm_random", on_file("random", 1, RANDOM_READS, 1), needs=("fresh_random",))]),
    Group("T3", [Row("fresh_random4", on_file("random", 4, RANDOM_READS, 2)),
                 Row("warm_random4", on_file("random", 4, RANDOM_READS, 2), needs=("fresh_random4",))]),
    Group("T3", [Row("fresh_mmap", on_file("mmap", RANDOM_READS, 3)),
                 Row("warm_mmap", on_file("mmap", RANDOM_READS, 3), needs=("fresh_mmap",))]),
    Group("T3", [Row("cold_sequential", on_file("sequential"), cold=True)]),
    Group("T3", [Row("cold_random", on_file("random", 1, RANDOM_READS, 1), cold=True)]),
    Group("T4", [Row("fresh_walk", WALK), Row("warm_walk", WALK, needs=("fresh_walk",))], once=True),
    Group("T5", [
        Row("fresh_walk", WALK),
        Row("fresh_read", READ, needs=("fresh_walk",)),
        Row("warm_walk", WALK, needs=("fresh_walk", "fresh_read")),
        Row("warm_read", READ, needs=("fresh_walk", "fresh_read")),
        Row("warm_tar", TAR, needs=("fresh_walk", "fresh_read")),
    ]),
    Group("T5", [Row("fresh_tar", TAR)]),
]


def first_file(tree):
    with open(tree.list_of("files"), encoding="utf-8") as lines:
        return lines.readline().rstrip("\n")


def chosen_groups(trees, patterns, may_drop_caches):
    """The groups of these trees with what the patterns name, and the rows that those need; also says which rows are
    wanted for themselves."""
    groups = []
    for group in GROUPS:
        if group.tree not in trees or group.extra and not patterns:
            continue
        wanted = {row.name for row in group.rows if may_drop_caches or not row.cold
                  if not patterns or any(fnmatch.fnmatch(row.name, pattern) for pattern in patterns)}
        needed = wanted | {name for row in group.rows if row.name in wanted for name in row.needs}
        needed |= {name for row in group.rows if row.name in needed for name in row.needs}
        rows = [row for row in group.rows if row.name in needed]
        if wanted:
            groups.append((dataclasses.replace(group, rows=rows), wanted))
    return groups
