# SPDX-License-Identifier: MIT
"""Counts the FUSE requests of one mount by kind, in the kernel: a counter on the tracepoint fuse_request_send for each
kind and CPU. Each costs a little at every request, so nothing is timed beside it. FORGET doesn't pass there."""
import contextlib
import ctypes
import fcntl
import os
import platform
import re
import struct
import tempfile

from isolate import libc, mount

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
PERF_TYPE_TRACEPOINT = 2
PERF_EVENT_IOC_SET_FILTER = 0x40082406
PERF_EVENT_IOC_RESET = 0x2403
# Those that a read-only file system is asked.
KINDS = {"LOOKUP", "GETATTR", "READLINK", "OPEN", "READ", "STATFS", "RELEASE", "GETXATTR", "LISTXATTR", "FLUSH",
         "OPENDIR", "READDIR", "RELEASEDIR", "ACCESS", "READDIRPLUS", "LSEEK", "STATX", "IOCTL"}


class Attributes(ctypes.Structure):
    """struct perf_event_attr, as far as it is needed here."""

    _fields_ = [("type", ctypes.c_uint32), ("size", ctypes.c_uint32), ("config", ctypes.c_uint64),
                ("rest", ctypes.c_uint64 * 6)]


def open_event(event, cpu):
    attributes = Attributes(type=PERF_TYPE_TRACEPOINT, size=ctypes.sizeof(Attributes), config=event)
    descriptor = libc.syscall(PERF_EVENT_OPEN[platform.machine()], ctypes.byref(attributes), -1, cpu, -1, 0)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open: " + os.strerror(ctypes.get_errno()))
    return descriptor


class Counter:
    def __init__(self):
        """Raises OSError where the kernel can't do it."""
        if platform.machine() not in PERF_EVENT_OPEN:
            raise OSError(f"not known how to count on {platform.machine()}")
        with self.tracing() as tracing:
            base = os.path.join(tracing, "events/fuse/fuse_request_send")
            with open(os.path.join(base, "id"), encoding="ascii") as file:
                self.event = int(file.read())
            with open(os.path.join(base, "format"), encoding="ascii") as file:
                known = dict((name, int(number)) for number, name in
                             re.findall(r'\{\s*(\d+)\s*, "FUSE_(\w+)"\s*\}', file.read()))
        self.kinds = {name: number for name, number in known.items() if name in KINDS}
        os.close(open_event(self.event, 0))

    @staticmethod
    @contextlib.contextmanager
    def tracing():
        """Where the tracepoints are described."""
        if os.path.isdir("/sys/kernel/tracing/events"):
            yield "/sys/kernel/tracing"
            return
        with tempfile.TemporaryDirectory() as place:
            mount("tracefs", place, "tracefs")
            try:
                yield place
            finally:
                libc.umount2(place.encode(), 0)

    @contextlib.contextmanager
    def counting(self, mountpoint):
        """Gives a dictionary that is filled at the end."""
        device = os.stat(mountpoint).st_dev
        connection = os.major(device) << 20 | os.minor(device)
        open_events = {}
        counted = {}
        try:
            for kind, number in self.kinds.items():
                for cpu in sorted(os.sched_getaffinity(0)):
                    descriptor = open_event(self.event, cpu)
                    open_events.setdefault(kind, []).append(descriptor)
                    fcntl.ioctl(descriptor, PERF_EVENT_IOC_SET_FILTER,
                                f"connection == {connection} && opcode == {number}\0".encode())
                    # Until it had its filter, it counted what anybody asked of any mount.
                    fcntl.ioctl(descriptor, PERF_EVENT_IOC_RESET, 0)
            yield counted
            for kind, descriptors in open_events.items():
                total = sum(struct.unpack("Q", os.read(descriptor, 8))[0] for descriptor in descriptors)
                if total:
                    counted[kind.lower()] = total
        finally:
            for descriptor in sum(open_events.values(), []):
                os.close(descriptor)
