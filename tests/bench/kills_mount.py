# SPDX-License-Identifier: MIT
"""A mount whose daemon and keeper are killed, and the readers of it."""
import contextlib
import fcntl
import glob
import json
import os
import signal
import subprocess
import sys
import threading
import time

STATS = "user.pkgfs.stats"
BACK_LIMIT = 10  # seconds until a mount counts as dead
END_LIMIT = 30  # seconds for a reader's last round
READERS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "kills_readers.py")


class Dead(Exception):
    """The mount doesn't come back."""


def running(pid):
    """Neither gone nor a zombie; None is no process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ask(root):
    """The statistics of a mount; an exception of OSError when it is dead."""
    return json.loads(os.getxattr(root, STATS))


def ask_within(root, seconds):
    """The same from a thread of its own, since it may hang; it ends when the mount is aborted. None: there is no
    answer. A process of its own would take the CPU from the successor."""
    said = []

    def asking():
        with contextlib.suppress(OSError):
            said.append(ask(root))

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else None


class KeptMount:
    def __init__(self, program, package, root, environment=None, options=()):
        self.program = program
        self.package = package
        self.root = root
        self.environment = {**os.environ, **(environment or {})}
        self.options = list(options)

    def __enter__(self):
        os.makedirs(self.root, exist_ok=True)
        done = subprocess.run([self.program, "mount", "--offline", *self.options, self.package, self.root],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pkgfs mount fails: {done.stderr.strip()}")
        self.connection = os.minor(os.stat(self.root).st_dev)
        return self

    def __exit__(self, *_):
        if not os.path.ismount(self.root) and not self.is_listed():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run([self.program, "unmount", self.root], capture_output=True, check=False, timeout=20)
            if done.returncode == 0:
                return
        self.abort()
        subprocess.run(["umount", "-l", self.root], stderr=subprocess.DEVNULL, check=False)

    def is_listed(self):
        with open("/proc/self/mounts", encoding="utf-8") as lines:
            return any(line.split()[1] == self.root for line in lines)

    def abort(self):
        """Frees processes that hang in this mount."""
        with contextlib.suppress(OSError), open(f"/sys/fs/fuse/connections/{self.connection}/abort", "w",
                                                encoding="ascii") as file:
            file.write("1")
        subprocess.run(["umount", "-f", self.root], stderr=subprocess.DEVNULL, check=False)

    # -- the daemon and its keeper

    def stats(self):
        try:
            return ask(self.root)
        except OSError as error:
            raise Dead(f"{self.root}: {error.strerror}") from error

    def wait_until(self, condition, limit=BACK_LIMIT, pause=0.002):
        """The first statistics that fulfil the condition, and when they came. The first look is that of a thread of
        its own, which may hang."""
        end = time.monotonic() + limit
        if ask_within(self.root, limit) is None:
            raise Dead(f"{self.root} doesn't answer within {limit} s")
        while True:
            stats = self.stats()
            now = time.monotonic()
            if condition(stats):
                return stats, now
            if now > end:
                raise Dead(f"{self.root}: the statistics stay {short(stats)} for {limit} s")
            time.sleep(pause)

    def kill_daemon(self, number=signal.SIGKILL):
        """Returns the time of the kill, that of the first answer of the successor, and what is wrong with it."""
        before = self.stats()
        killed = time.monotonic()
        os.kill(before["pid"], number)
        _, back = self.wait_until(lambda stats: stats["pid"] != before["pid"])
        # It answers first, and then starts its keeper.
        after, _ = self.wait_until(lambda stats: running(stats.get("keeper")))
        return killed, back, list(complaints(before, after, number))

    def kill_keeper(self):
        """Returns how long there is no keeper, as far as the statistics say."""
        before = self.stats()
        if not before.get("keeper"):
            raise Dead(f"{self.root} has no keeper")
        killed = time.monotonic()
        os.kill(before["keeper"], signal.SIGKILL)
        after, back = self.wait_until(
            lambda stats: stats.get("keeper") != before["keeper"] and running(stats.get("keeper")))
        wrong = [] if after["pid"] == before["pid"] else [f"the daemon is {after['pid']} and not {before['pid']}"]
        return killed, back, wrong

    def ends_cleanly(self):
        """Unmounts, and returns what is left."""
        pids = [pid for pid in map(self.stats().get, ("pid", "keeper")) if pid]
        done = subprocess.run([self.program, "unmount", self.root], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return [f"pkgfs unmount fails: {done.stderr.strip()}"]
        end = time.monotonic() + 5
        while any(map(running, pids)) and time.monotonic() < end:
            time.sleep(0.01)
        return [f"process {pid} is left after the unmount" for pid in pids if running(pid)]


def short(stats):
    return {name: stats.get(name) for name in ("pid", "keeper", "generation", "last_end")}


def complaints(before, after, number):
    if after.get("generation") != before.get("generation", 0) + 1:
        yield f"generation {after.get('generation')} after {before.get('generation')}"
    why = "killed" if number == signal.SIGKILL else f"signal {int(number)}"
    if why not in str(after.get("last_end")):
        yield f"last_end is {after.get('last_end')!r} after signal {int(number)}"
    if any(after["requests"].get(name, 0) < count for name, count in before["requests"].items()):
        yield "counts of requests fall"


class Crew:
    """The readers of a mount, in processes of their own, until `stop`."""

    def __init__(self, kinds, mount, source, places, seed):
        self.mount = mount
        self.places = places  # where fresh readers mount
        self.processes = {}
        self.broken = []
        for number, kind in enumerate(kinds):
            where = places if kind in ("fresh", "push") else mount.root
            name = f"{kind}-{number}"
            words = [sys.executable, READERS, kind, where, source, self.result_of(name), "--program", mount.program,
                     "--package", mount.package, "--seed", str(seed + number)]
            self.processes[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=mount.environment, start_new_session=True)
        for name, process in self.processes.items():
            if process.stdout.readline() != "ready\n":
                self.broken.append(f"{name} doesn't start: {process.stderr.read()[-300:]}")

    def result_of(self, name):
        return self.mount.root + "." + name

    def stop(self):
        """Ends the readers. Returns what each says; a reader that hangs or that a signal has ended is an error."""
        for process in self.processes.values():
            process.terminate()
        end = time.monotonic() + END_LIMIT
        hanging = []
        for name, process in self.processes.items():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                hanging.append(name)
        if hanging:
            self.mount.abort()
            for ready in glob.glob(os.path.join(self.places, "*.ready")):
                subprocess.run(["umount", "-f", ready.removesuffix(".ready")], stderr=subprocess.DEVNULL, check=False)
        return [self.end_of(name, process, name in hanging) for name, process in self.processes.items()]

    def end_of(self, name, process, hung):
        kind = name.rpartition("-")[0]
        if hung:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        try:
            _, complained = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:  # it can't even be killed
            complained = ""
        why = f"{name} hangs" if hung else f"{name} ends with {process.returncode}: {complained[-300:]}"
        if hung or process.returncode != 0:
            return {"kind": kind, "rounds": 0, "errors": 1, "wrong": 0, "said": [[time.monotonic(), why]]}
        with open(self.result_of(name), encoding="utf-8") as file:
            return json.load(file)

    @contextlib.contextmanager
    def fresh_mount(self, chance):
        """One of the mounts of fresh readers, held until the end of the context; None if there is none now."""
        ready = glob.glob(os.path.join(self.places, "*.ready"))
        held = None
        if ready:
            with contextlib.suppress(FileNotFoundError):
                held = open(chance.choice(ready), "r+", encoding="ascii")  # pylint: disable=consider-using-with
        if held is None:
            yield None
            return
        with held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not os.path.exists(held.name):  # it was unmounted meanwhile
                yield None
                return
            yield KeptMount(self.mount.program, self.mount.package, held.name.removesuffix(".ready"),
                            self.mount.environment)


def run_with_init(work):
    """Runs `work` in a child, and collects the orphans of daemons in this process, the first one of the namespace:
    otherwise, each killed daemon would stay as a zombie. Returns the exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else print(end.code, file=sys.stderr) or 1
        except BaseException:  # pylint: disable=broad-exception-caught
            import traceback  # pylint: disable=import-outside-toplevel
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: os.kill(child, caught))
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
