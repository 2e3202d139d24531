# SPDX-License-Identifier: MIT
"""What can go wrong, and on which requests."""

import re
import threading
from dataclasses import dataclass, field


@dataclass
class Fault:
    """As `Fault` of test_registry.h has it."""

    kind: str
    where: str = "both"  # graphql, files, both
    match: str = ""
    skip: int = 0
    times: int = 0
    status: int = 0
    retry_after: str = ""
    body: str = ""
    after: int = 0
    token: str = ""
    location: str = ""
    latency_ms: int = 0
    rate: int = 0
    etag: str = "normal"  # normal, weak, none, changes
    lie: str = ""
    seen: int = field(default=0, compare=False)

    @property
    def version(self):
        return self.match.partition("@")[2]

    def aims_at(self, where, text):
        if self.where not in ("both", where):
            return False
        if not self.match:
            return True
        # A query asks for a name, the path of a file has the version too.
        wanted = self.match.replace("@", "/") if where == "files" else self.match.partition("@")[0]
        return re.search(r"(?<![\w-])" + re.escape(wanted) + r"(?![\w-])", text) is not None


# These change what is said, so they only make sense for GraphQL; those below only for files.
SAID = {"graphql_errors", "graphql_partial", "null_package", "archived", "bad_manifest", "wrong_hash", "null_fields",
        "unknown_fields", "url"}  # fmt: skip
OF_FILES = {"wrong_bytes", "ignore_range", "lying_range", "wrong_slice", "range_lie"}


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._faults = []

    def set(self, faults):
        made = [Fault(**fault) for fault in faults]
        with self._lock:
            self._faults = made

    def pick(self, where, text, host):
        """The first fault that aims at this request and has some left; counts it."""
        with self._lock:
            for fault in self._faults:
                applies = not (fault.kind in SAID and where == "files" or fault.kind in OF_FILES and where == "graphql")
                arrived = fault.kind == "redirect" and fault.location.partition("://")[2] == host
                if not applies or arrived or not fault.aims_at(where, text):
                    continue
                if fault.times and fault.seen >= fault.skip + fault.times:
                    continue
                fault.seen += 1
                if fault.seen > fault.skip:
                    return fault, fault.seen
            return None, 0

    def needs_direct(self):
        """Whether files must be fetched past nginx, which would repair the fault."""
        with self._lock:
            return any(fault.kind == "excess" and fault.where != "graphql" for fault in self._faults)
