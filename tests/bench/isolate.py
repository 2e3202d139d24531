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


def run_isolated(work):
    """Ends the process with what `work` returns. It runs in a child that is the first process of a namespace of
    processes: with it the kernel ends all others, and with the last of them the namespace of mounts goes."""
    if os.geteuid() != 0:
        sys.exit(work())
    checked(libc.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        mount("none", "/", "", MS_REC_PRIVATE)
        mount("proc", "/proc", "proc")
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda caught, _: sys.exit(128 + caught))
        try:
            sys.exit(work())
        except KeyboardInterrupt:
            sys.exit(130)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: os.kill(child, caught))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
