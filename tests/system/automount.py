# SPDX-License-Identifier: MIT
"""An automount unit as systemd's: mounts autofs at MOUNTPOINT and, when somebody walks into it, the package.

    automount.py PACKAGE MOUNTPOINT OPTIONS

mount(8) runs in this process group, as systemd sees to. Whoever isn't in it and walks into the mountpoint before the
mount is made waits, be it the daemon that is to make it. Ends with both mounts when it gets SIGTERM, or after 15 s.
"""
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys

IOC_READY = 0x9360
IOC_FAIL = 0x9361
IOC_CATATONIC = 0x9362


def main():
    package, mountpoint, options = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    os.setpgid(0, 0)
    requests, kernels_end = os.pipe()
    how = f"fd={kernels_end},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
    if libc.mount(b"systemd-1", mountpoint.encode(), b"autofs", 0, how.encode()) != 0:
        sys.exit(f"autofs: {os.strerror(ctypes.get_errno())}")
    os.close(kernels_end)
    control = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)

    def end(*_):
        fcntl.ioctl(control, IOC_CATATONIC, 0)
        os.close(control)
        while libc.umount2(mountpoint.encode(), 2) == 0:  # MNT_DETACH
            pass
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    signal.alarm(15)
    print("ready", flush=True)
    while request := os.read(requests, 4096):
        _version, _kind, token = struct.unpack_from("=iiI", request)
        mount = ["mount", package, mountpoint, "-t", "pkgfs", "-o", options]
        try:
            done = subprocess.run(mount, timeout=10).returncode == 0
        except subprocess.TimeoutExpired:
            done = False
        fcntl.ioctl(control, IOC_READY if done else IOC_FAIL, token)


main()
