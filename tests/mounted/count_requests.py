# SPDX-License-Identifier: MIT
"""Counts what the kernel asks of a mount while a command runs, by its own tracepoints:
count_requests.py MOUNTPOINT COMMAND...  Prints the counts as JSON; exits with 77 where the kernel can't count."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import fuse_counts  # noqa: E402

try:
    counter = fuse_counts.Counter()
except OSError as error:
    print(f"requests can't be counted by the kernel: {error}", file=sys.stderr)
    sys.exit(77)
with counter.counting(sys.argv[1]) as counted:
    subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
print(json.dumps(counted))
