# SPDX-License-Identifier: MIT
"""deny_calls.py ERRNO CALL[,CALL] COMMAND...: runs the command with a seccomp filter that answers the calls with ERRNO."""
import ctypes
import errno
import os
import struct
import sys

NUMBERS = {  # of x86_64 and of all other 64-bit machines
    "clone": (56, 220),
    "clone3": (435, 435),
    "eventfd2": (290, 19),
    "fsconfig": (431, 431),
    "fsopen": (430, 430),
    "getdents64": (217, 61),
    "inotify_add_watch": (254, 27),
    "inotify_init1": (294, 26),
    "open_tree": (428, 428),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
}
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER_MODE = 38, 22, 2


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


number = getattr(errno, sys.argv[1])
steps = [(LOAD, 0, 0, 0)]
for call in sys.argv[2].split(","):
    steps.append((JUMP_IF_EQUAL, 0, 1, NUMBERS[call][0 if os.uname().machine == "x86_64" else 1]))
    steps.append((RETURN, 0, 0, ERROR | number))
steps.append((RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = Program(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(
    PR_SET_SECCOMP, FILTER_MODE, ctypes.byref(program), 0, 0
):
    sys.exit(99)
os.execvp(sys.argv[3], sys.argv[3:])
