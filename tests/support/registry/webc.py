# SPDX-License-Identifier: MIT
"""Reads the manifest out of a container of version 1, 2 or 3, independently of the code under test."""

import math
import struct


class Damaged(Exception):
    """Not a container, or one whose manifest can't be read."""


MOST = 64 << 20  # bytes of one section read into memory


class Cbor:
    """One item of RFC 8949 as JSON has it: byte strings are lists of numbers, `undefined` is null, tags are dropped."""

    BREAK = object()

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Damaged("CBOR ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self):
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info, info
        if info < 28:
            return major, info, int.from_bytes(self.take(1 << (info - 24)), "big")
        if info == 31:
            return major, info, None
        raise Damaged("CBOR: reserved length")

    def until_break(self):
        while (item := self.item(may_end=True)) is not Cbor.BREAK:
            yield item

    def item(self, may_end=False):
        major, info, value = self.head()
        if (major, info) == (7, 31) and not may_end:
            raise Damaged("CBOR: a break outside")
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major in (2, 3):
            parts = b"".join(self.chunk(major) for _ in iter(self.more, False)) if value is None else self.take(value)
            return parts.decode() if major == 3 else list(parts)
        if major == 4:
            return list(self.until_break()) if value is None else [self.item() for _ in range(value)]
        if major == 5:
            items = self.until_break() if value is None else (self.item() for _ in range(2 * value))
            return {self.key(name): next(items) for name in items}
        if major == 6:
            return self.item()
        return self.simple(info, value)

    def more(self):
        """Inside an indefinite string: false (and past the break) at its end."""
        if self.data[self.at : self.at + 1] == b"\xff":
            self.at += 1
            return False
        return True

    def chunk(self, of):
        major, _, value = self.head()
        if major != of or value is None:
            raise Damaged("CBOR: odd chunk of a string")
        return self.take(value)

    @staticmethod
    def key(name):
        if not isinstance(name, str):
            raise Damaged("CBOR: a key that isn't text")
        return name

    @staticmethod
    def simple(info, value):
        if info == 31:
            return Cbor.BREAK
        if info in (25, 26, 27):
            form = {25: ">e", 26: ">f", 27: ">d"}[info]
            number = struct.unpack(form, value.to_bytes(struct.calcsize(form), "big"))[0]
            return number if math.isfinite(number) else None
        return {20: False, 21: True}.get(value)


def decode(data):
    try:
        return Cbor(data).item()
    except (RecursionError, UnicodeDecodeError, StopIteration, RuntimeError, TypeError) as error:
        raise Damaged(f"CBOR: {error}") from error


def exactly(file, count):
    if count > MOST:
        raise Damaged(f"a section of {count} bytes")
    data = file.read(count)
    if len(data) != count:
        raise Damaged("the file ends early")
    return data


def leb128(file):
    value = 0
    for shift in range(0, 70, 7):
        byte = exactly(file, 1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise Damaged("LEB128 never ends")


def section(file, hashed):
    file.read(1 + (32 if hashed else 0))  # tag, and the hash that all but the index of version 3 has
    return exactly(file, struct.unpack("<Q", exactly(file, 8))[0])


def read_manifest(path):
    """(version, manifest); version is 1, 2, 3, or None when not even that can be told."""
    version = None
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
            version = {b"\0webc001": 1, b"\0webc002": 2, b"\0webc003": 3}.get(magic)
            if version is None:
                raise Damaged("no container")
            if version == 1:
                file.seek(1308)
                payload = exactly(file, leb128(file))
            else:
                index = decode(section(file, hashed=False))
                file.seek(index["manifest"]["span"]["start"])
                payload = section(file, hashed=version == 3)
        manifest = decode(payload)
        if not isinstance(manifest, dict):
            raise Damaged("the manifest is no map")
        return version, manifest
    except (Damaged, KeyError, TypeError, ValueError, OverflowError):
        return version, None
