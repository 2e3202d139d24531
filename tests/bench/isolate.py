# SPDX-License-Identifier: MIT
"""Namespaces of one's own: whatever ends the benchmark, its mounts and daemons end with it."""
import ctypes
import os
import signal
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_REC_PRIVATE = 0x4000 | 0x40000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind, flags=0):
    checked(libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None), f"mount {target}")


def on_signals(handler):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def leave(caught, _):
    """Once: the terminal sends SIGINT to both processes, and the second must not end the clearing up."""
    on_signals(signal.SIG_IGN)
    sys.exit(128 + caught)


def use_own_home(place):
    """No settings of who runs it, and no network: everything that is looked for at home is looked for in `place`."""
    home = os.path.join(place, "home")
    os.makedirs(home, exist_ok=True)
    os.environ.update({"HOME": home, "WASMER_DIR": home, "LC_ALL": "C.UTF-8"})


def run_isolated(work):
    """Ends the process with what `work` returns. It runs in a child that is the first process of a namespace of
    processes: with it the kernel ends all others, and with the last of them the namespace of mounts goes."""
    if os.geteuid() != 0:
        on_signals(leave)
        sys.exit(work())
    checked(libc.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        mount("none", "/", "", MS_REC_PRIVATE)
        mount("proc", "/proc", "proc")
        on_signals(leave)
        sys.exit(work())
    on_signals(lambda caught, _: os.kill(child, caught))
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
