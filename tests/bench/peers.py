# SPDX-License-Identifier: MIT
"""The file systems that are compared: how each is mounted, and what of its daemon can be measured."""
import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from trees import LayeredTree, ManyFiles

CPUCLOCK_SCHED = 2
STATS = "user.pkgfs.stats"


class Peer:
    """`daemon` says whether a process serves it."""

    daemon = False
    needs_root = False
    programs = ()

    def __init__(self, name):
        self.name = name

    def missing(self):
        """Why it can't take part, or nothing."""
        if self.needs_root and os.geteuid() != 0:
            return "needs root"
        absent = [program for program in self.programs if not shutil.which(program)]
        return f"no {absent[0]}" if absent else ""

    def shows(self, tree):
        """Whether it takes part for this tree."""
        return not isinstance(tree, (ManyFiles, LayeredTree))

    def source(self, tree):
        """What is mounted."""
        raise NotImplementedError

    def backing(self, tree, programs=False):
        """What must be in the page cache for a fresh mount."""
        return self.source(tree)

    def command(self, tree, mountpoint, programs=False):
        """What mounts it, with its programs executable or just as it is by default; None: nothing is mounted."""
        raise NotImplementedError


class Directory(Peer):
    def shows(self, tree):
        return not isinstance(tree, ManyFiles)

    def source(self, tree):
        return tree.directory()

    def command(self, tree, mountpoint, programs=False):
        return None


class Squashfs(Peer):
    needs_root = True
    programs = ("mksquashfs",)

    def source(self, tree):
        return tree.squashfs()

    def command(self, tree, mountpoint, programs=False):
        return ["mount", "-t", "squashfs", "-o", "loop,ro", tree.squashfs(), mountpoint]


class Erofs(Peer):
    needs_root = True
    programs = ("mkfs.erofs",)

    def __init__(self, name, workload):
        super().__init__(name)
        self.workload = workload

    def source(self, tree):
        return tree.erofs()

    def command(self, tree, mountpoint, programs=False):
        # From the file itself; mount(8) would put a loop device in between.
        return [self.workload, "mount", "erofs", tree.erofs(), mountpoint]


class Squashfuse(Peer):
    daemon = True
    programs = ("mksquashfs", "squashfuse_ll")

    def source(self, tree):
        return tree.squashfs()

    def command(self, tree, mountpoint, programs=False):
        return ["squashfuse_ll", tree.squashfs(), mountpoint]


class Overlayfs(Peer):
    needs_root = True

    def shows(self, tree):
        return isinstance(tree, LayeredTree)

    def source(self, tree):
        return os.path.dirname(tree.layers()[0])

    def command(self, tree, mountpoint, programs=False):
        return ["mount", "-t", "overlay", "-o", "ro,lowerdir=" + ":".join(tree.layers()), "overlay", mountpoint]


class FuseOverlayfs(Overlayfs):
    needs_root = False
    daemon = True
    programs = ("fuse-overlayfs",)

    def command(self, tree, mountpoint, programs=False):
        return ["fuse-overlayfs", "-o", "lowerdir=" + ":".join(tree.layers()), mountpoint]


class Pkgfs(Peer):
    daemon = True

    def __init__(self, name, program, version=3, options=(), flat=False):
        super().__init__(name)
        self.program = program
        self.version = version
        self.options = list(options)
        self.flat = flat  # of layers, show what they amount to as one volume

    def missing(self):
        return "" if os.access(self.program, os.X_OK) else f"no {self.program}"

    def shows(self, tree):
        return not self.flat or isinstance(tree, LayeredTree)

    def source(self, tree):
        if isinstance(tree, LayeredTree):
            return tree.flat.package(self.version) if self.flat else tree.registry(self.version)
        return tree.package(self.version)

    def command(self, tree, mountpoint, programs=False):
        source = self.source(tree)
        what = ["--registry", source, "bench/merged@1.0.0"] if os.path.isdir(source) else [source]
        if programs:  # containers store no modes
            what.insert(0, "--exec=auto")
        return [self.program, "mount", "--offline", *self.options, *what, mountpoint]


class PkgfsErofs(Peer):
    """The same tree, served by the kernel from an image in the cache. The first mount makes the image."""

    needs_root = True

    def __init__(self, name, program, options=()):
        super().__init__(name)
        self.package = Pkgfs(name, program, options=[*options, "--engine=erofs"])
        self.images = {}

    def missing(self):
        return super().missing() or self.package.missing()

    def source(self, tree):
        return self.package.source(tree)

    def backing(self, tree, programs=False):
        """The image: the package is read only when the image is made."""
        key = (tree.name, programs)
        if key not in self.images:
            mountpoint = tempfile.mkdtemp(prefix="mnt-")
            try:
                subprocess.run(self.command(tree, mountpoint, programs), check=True)
                self.images[key] = mount_source(mountpoint)
                subprocess.run(["umount", mountpoint], check=True)
            finally:
                os.rmdir(mountpoint)
            os.sync()  # or its writing would go on under the first measurements
        return self.images[key]

    def command(self, tree, mountpoint, programs=False):
        return self.package.command(tree, mountpoint, programs)


def mount_source(mountpoint):
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if words[4] == mountpoint:
                return words[words.index("-") + 2]
    raise RuntimeError(f"nothing is mounted at {mountpoint}")


class Mount:
    """A peer that shows a tree, until `end`."""

    def __init__(self, peer, root):
        self.peer = peer
        self.root = root
        self.answered_ns = None  # how long it took to get here
        self.pid = None

    def find_daemon(self):
        self.pid = find_daemon(self.root) if self.peer.daemon else None

    def end(self):
        if not os.path.ismount(self.root):
            return
        root = os.geteuid() == 0
        ways = [["umount"], ["umount", "-l"]] if root else [["fusermount3", "-u"], ["fusermount3", "-u", "-z"]]
        for words in ways:
            for _ in range(20):  # a program that has just ended may still hold it
                if subprocess.run([*words, self.root], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                    return self.wait_for_daemon()
                time.sleep(0.05)
        return self.wait_for_daemon()

    def wait_for_daemon(self):
        """The next peer must not run beside the end of this one."""
        for attempt in range(500):
            if self.pid is None or not alive(self.pid):
                return
            if attempt == 400:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)

    def cpu_ns(self):
        if self.pid is None:
            return 0
        return time.clock_gettime_ns((~self.pid << 3) | CPUCLOCK_SCHED)  # all threads, ended ones too

    def memory(self):
        """KiB of the daemon: resident, proportional, anonymous."""
        if self.pid is None:
            return {}
        wanted = {"Rss:": "rss", "Pss:": "pss", "Anonymous:": "anonymous"}
        found = {}
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="utf-8") as lines:
            for line in lines:
                words = line.split()
                if words[0] in wanted:
                    found[wanted[words[0]]] = int(words[1])
        return found

    def statistics(self):
        """What the daemon counts itself, requests by kind among it; None when it doesn't say."""
        if not isinstance(self.peer, Pkgfs):
            return None
        try:
            return json.loads(os.getxattr(self.root, STATS))
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.ENOTSUP):
                return None
            raise


def alive(pid):
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0  # orphans are ours where this is the first process
    except ChildProcessError:
        return os.path.exists(f"/proc/{pid}")


def find_daemon(mountpoint):
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if mountpoint.encode() in file.read().split(b"\0"):
                        return int(entry)
            except OSError:
                pass
    raise RuntimeError(f"no process serves {mountpoint}")


def all_peers(program, options, variants, workload):
    """Every peer by name; a variant is "NAME=[@PROGRAM] [OPTION]..."; the option --v2 takes packages of version 2."""
    peers = [Pkgfs("pkgfs", program, options=options)]
    for text in variants:
        name, _, rest = text.partition("=")
        words = rest.split()
        chosen = program
        if words and words[0].startswith("@"):
            chosen = os.path.abspath(words.pop(0)[1:])
        version = 2 if "--v2" in words else 3
        peers.append(Pkgfs(name, chosen, version, options + [word for word in words if word != "--v2"]))
    peers += [Pkgfs("pkgfs-v2", program, version=2, options=options),
              Pkgfs("pkgfs-flat", program, options=options, flat=True),
              PkgfsErofs("pkgfs-erofs", program, options=options),
              Directory("ext4"), Squashfs("squashfs"), Erofs("erofs", workload), Squashfuse("squashfuse_ll"),
              Overlayfs("overlayfs"), FuseOverlayfs("fuse-overlayfs")]
    return {peer.name: peer for peer in peers}
