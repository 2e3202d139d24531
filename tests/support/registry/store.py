# SPDX-License-Identifier: MIT
"""What the registry has published: containers, by name and version and by hash."""

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from typing import Optional
from urllib.parse import quote, unquote

from webc import read_manifest


@dataclass(frozen=True)
class Container:
    """One published file."""

    name: str  # "acme/app"; without a slash where the layout has no namespace; "" when only the hash is known
    version: str
    slot: str  # the distribution it is: V2 (formats 1 and 2) or V3
    path: str
    size: int
    sha256: str  # of the file
    announced: str  # what the side file says the hash is, else the same
    manifest: Optional[str]  # JSON text, None when the container is damaged

    @property
    def url_path(self):
        """Has all by which a fault can be aimed: name, version and hash."""
        return "/files/" + quote(f"{self.name or '_'}/{self.version or '_'}/{self.sha256}.webc")


class Store:
    def __init__(self):
        self._lock = threading.Lock()
        self._known = {}  # (path, size, mtime) -> (sha256, format, manifest)
        self._versions = {}  # name -> version -> slot -> Container
        self._by_hash = {}
        self._by_url = {}
        self._archived = set()

    def add(self, path, name="", version=""):
        """Publishes a container, or all that a registry directory has. Of two of one version, the first one stays."""
        path = os.path.realpath(path)
        if not os.path.isdir(path):
            return self._add_file(path, name, version)
        for root, folders, files in os.walk(path, followlinks=True):
            folders.sort()
            where = os.path.relpath(root, path).split(os.sep)
            for file in sorted(files):
                if file.endswith(".webc"):
                    flat = where == ["."] or len(where) > 2
                    self._add_file(os.path.join(root, file), "" if flat else "/".join(where), "" if flat else file[:-5])

    def _add_file(self, path, name, version):
        sha256, form, manifest = self._read(path)
        if not name:
            name, version = self._own_name(manifest)
        text = None if manifest is None else json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))
        container = Container(
            name=name,
            version=version,
            slot="V3" if form in (3, None) else "V2",
            path=path,
            size=os.path.getsize(path),
            sha256=sha256,
            announced=self._side_file(path) or sha256,
            manifest=text,
        )
        with self._lock:
            self._by_hash.setdefault(sha256, container)
            self._by_url[container.url_path] = container
            if name:
                slots = self._versions.setdefault(name, {}).setdefault(version, {})
                slots.setdefault(container.slot, container)

    def _read(self, path):
        status = os.stat(path)
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            self._known[key] = (digest.hexdigest(), *read_manifest(path))
        return self._known[key]

    @staticmethod
    def _own_name(manifest):
        package = (manifest or {}).get("package")
        wapm = package.get("wapm") if isinstance(package, dict) else None
        if isinstance(wapm, dict) and isinstance(wapm.get("name"), str):
            return wapm["name"], str(wapm.get("version") or "0.0.0")
        return "", ""

    @staticmethod
    def _side_file(path):
        try:
            with open(path[:-5] + ".sha256", encoding="utf-8") as file:
                return file.read().strip().removeprefix("sha256:").lower()
        except (OSError, UnicodeDecodeError):
            return None

    def versions(self, name):
        """[(version, archived, {slot: Container})], None when there is no such package."""
        with self._lock:
            found = self._versions.get(name.removeprefix("_/"))
            if found is None:
                return None
            own = name.removeprefix("_/")
            return [(version, (own, version) in self._archived, dict(slots)) for version, slots in found.items()]

    def by_hash(self, sha256):
        with self._lock:
            return self._by_hash.get(sha256.removeprefix("sha256:").lower())

    def by_url(self, path):
        with self._lock:
            return self._by_url.get(quote(unquote(path)))

    def is_archived(self, container):
        with self._lock:
            return (container.name, container.version) in self._archived

    def archive(self, name, version):
        if all(version != known for known, _, _ in self.versions(name) or []):
            raise LookupError(f"no such package: {name}@{version}")
        with self._lock:
            self._archived.add((name.removeprefix("_/"), version))

    def find(self, text):
        """By "acme/app@1.0.0", "acme/app" with one version, or a hash; V3 before V2."""
        name, _, version = text.partition("@")
        known = self.versions(name) or []
        matching = [slots for found, _, slots in known if found == version or (not version and len(known) == 1)]
        if matching:
            return matching[0].get("V3") or matching[0]["V2"]
        found = self.by_hash(text)
        if found is None:
            raise LookupError(f"no such package: {text}")
        return found
