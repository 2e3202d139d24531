# SPDX-License-Identifier: MIT
"""What is to be reached, and whether it was."""
import dataclasses

from results import median

SQUASHFS = "squashfs"
SQUASHFUSE = "squashfuse_ll"
# tree, row, against whom, at most this times; with io_uring (libfuse >= 3.18) at most that
RATIOS = [
    ("T1", "warm_walk", "ext4", 1.1, None),
    ("T1", "warm_lstat", "ext4", 1.5, None),
    ("T1", "absent_again", "ext4", 1.5, None),
    ("T1", "warm_read", "ext4", 1.55, None),
    ("T1", "warm_tar", "ext4", 1.25, None),
    ("T1", "fresh_walk", SQUASHFS, 0.85, 0.65),
    ("T1", "fresh_walk", SQUASHFUSE, 0.15, None),
    ("T1", "fresh_read", SQUASHFS, 0.3, None),
    ("T1", "fresh_read", SQUASHFUSE, 0.12, None),
    ("T1", "fresh_tar", SQUASHFS, 0.6, 0.36),
    ("T1", "fresh_tar", SQUASHFUSE, 0.15, None),
    ("T2", "fresh_read4", SQUASHFS, 0.6, 0.35),
    ("T3", "fresh_sequential", SQUASHFS, 0.5, None),
    ("T3", "fresh_random", SQUASHFS, 0.3, None),
    ("T2", "fresh_import", SQUASHFS, 0.8, None),
    ("T2", "fresh_import", "ext4", 1.15, None),
    ("T1", "absent_first", SQUASHFUSE, 0.5, None),
    ("T1", "cold_walk", SQUASHFS, 1.15, None),
    ("T1", "cold_tar", SQUASHFS, 0.8, None),
    ("T5", "fresh_read", "pkgfs-flat", 1.05, None),
    ("T5", "warm_walk", "pkgfs-flat", 1.05, None),
    ("T5", "warm_read", "pkgfs-flat", 1.05, None),
    ("T5", "warm_tar", "pkgfs-flat", 1.05, None),
]
# tree, row, what --engine=erofs may take of the time of a daemon
EROFS = "pkgfs-erofs"
EROFS_RATIOS = [("T1", "fresh_walk", 0.6), ("T1", "fresh_read", 0.8), ("T2", "fresh_read4", 0.5),
                ("T1", "mount_ready", 0.2)]
NO_REQUESTS = [("T1", "warm_walk"), ("T1", "warm_lstat"), ("T1", "absent_again"), ("T1", "warm_read"),
               ("T1", "warm_tar")]
READY_MS = 5
READY_LIKE = 1.25  # "the same for ten files and a million", as far as a few milliseconds can be told apart
MEMORY_MB = [("T1", 8), ("T4", 40)]


@dataclasses.dataclass
class Bar:
    what: str
    limit: str
    measured: str
    met: object  # None: not measured


def judge(results, peer):
    """Every bar, for one variant of pkgfs."""
    bars = []
    for tree, row, other, most, with_uring in RATIOS:
        ratio = results.ratio_of_medians(tree, row, peer, other)
        limit = f"≤ {most:g} × {other}" + (f" ({with_uring:g})" if with_uring else "")
        bars.append(Bar(f"{tree} {row}", limit, "" if ratio is None else f"{ratio:.2f}",
                        None if ratio is None else ratio <= most))
    for tree, row in NO_REQUESTS:
        found = results.requests(tree, row, peer)
        total = None if found is None else sum(found.values())
        bars.append(Bar(f"{tree} {row}, requests", "0", "" if total is None else f"{total:g}",
                        None if total is None else total == 0))
    bars += ready(results, peer)
    for tree, row, most in EROFS_RATIOS:
        ratio = results.ratio_of_medians(tree, row, EROFS, peer)
        bars.append(Bar(f"{tree} {row}, --engine=erofs", f"≤ {most:g} × a daemon",
                        "" if ratio is None else f"{ratio:.2f}", None if ratio is None else ratio <= most))
    for tree, most in MEMORY_MB:
        values = [sample["anonymous"] for sample in results.select(tree, "fresh_walk", peer) if "anonymous" in sample]
        used = median(values) * 1024 / 1e6 if values else None
        bars.append(Bar(f"{tree} anonymous memory after a full walk", f"≤ {most} MB",
                        "" if used is None else f"{used:.1f} MB", None if used is None else used <= most))
    for idle in results.idle:
        if idle["peer"] == peer:
            bars.append(Bar(f"idle daemon, {idle['seconds']:g} s", "0 CPU", f"{idle['daemon_ns'] / 1e6:.3f} ms",
                            idle["daemon_ns"] == 0))
    return bars


def ready(results, peer):
    few, small, large = (results.median("mount_ready", tree, peer) for tree in ("T0", "T1", "T4"))
    bars = [Bar(f"{tree} mount to ready", f"≤ {READY_MS} ms", "" if took is None else f"{took / 1e6:.1f} ms",
                None if took is None else took <= READY_MS * 1e6) for tree, took in (("T1", small), ("T4", large))]
    for tree, took in (("T0", few), ("T1", small)):
        ratio = large / took if took and large else None
        bars.append(Bar(f"T4 mount to ready, against {tree}", f"≤ {READY_LIKE:g}",
                        "" if ratio is None else f"{ratio:.2f}", None if ratio is None else ratio <= READY_LIKE))
    return bars
