# SPDX-License-Identifier: MIT
"""Describes the machine that a run measured on."""
import os
import platform
import re
import subprocess
import time


def first_match(path, pattern):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
            return found.group(1) if found else ""
    except OSError:
        return ""


def output(*words, cwd=None):
    result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, check=False, cwd=cwd)
    return result.stdout.strip() if result.returncode == 0 else ""


def package(name):
    return output("dpkg-query", "-W", "-f", "${Version}", name)


def file_system(path):
    return output("stat", "-f", "-c", "%T", path).replace("ext2/ext3", "ext4") or "unknown"


def describe(source, cache, options):
    """Pairs of a property and its value."""
    cpu = first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)") or platform.machine()
    gib = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)") or 0) / (1 << 20)
    commit = output("git", "describe", "--always", "--dirty", "--abbrev=10", cwd=source)
    tools = {"squashfuse": "squashfuse", "fuse-overlayfs": "fuse-overlayfs", "squashfs-tools": "squashfs-tools",
             "erofs-utils": "erofs-utils"}
    return [
        ("date", time.strftime("%Y-%m-%d")),
        ("pkgfs", commit or "unknown"),
        ("CPU", f"{os.cpu_count()} × {cpu}"),
        ("memory", f"{gib:.0f} GiB"),
        ("virtual machine", output("systemd-detect-virt") or "unknown"),
        ("system", first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')),
        ("kernel", platform.release()),
        ("libfuse", package("libfuse3-3") or package("libfuse3-4") or "unknown"),
        ("FUSE over io_uring", first_match("/sys/module/fuse/parameters/enable_uring", r"(\w)") or "no"),
        ("peers", ", ".join(f"{name} {version}" for name in tools if (version := package(tools[name])))),
        ("file system of “ext4”", file_system(cache)),
        ("rounds", str(options.rounds)),
        ("seed", str(options.seed)),
    ]
