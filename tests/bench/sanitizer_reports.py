# SPDX-License-Identifier: MIT
"""What sanitizers report of daemons: a daemon has no standard error, and another one goes on when it ends."""
import glob
import os
import re

FOUND = re.compile("WARNING: ThreadSanitizer|ERROR: (Address|Leak)Sanitizer: [a-z]|runtime error:")


def collect(place):
    """Lets the programs that this process starts write their reports below `place`. Returns where."""
    path = os.path.join(place, "sanitizer")
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        os.environ[name] = ":".join(filter(None, (os.environ.get(name), f"log_path={path}")))
    return path


def text(path):
    """The reports; empty: there are none. That a signal ended a program (SEGV, in capitals) is none."""
    found = []
    for name in sorted(glob.glob(glob.escape(path) + ".*")):
        with open(name, encoding="utf-8", errors="replace") as file:
            said = file.read()
        if FOUND.search(said):
            found.append(said)
    return "\n".join(found)
