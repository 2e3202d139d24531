# SPDX-License-Identifier: MIT
"""Right answers, and how they go wrong on the wire."""

import gzip
import os
import re
import select
import socket
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Optional

BLOCK = 64 << 10
LEFT = (BrokenPipeError, ConnectionError, TimeoutError)


class Body:
    """Bytes that may be too many to hold: of a file, or given."""

    def __init__(self, data=b"", path=None):
        self._data = data
        self._file = open(path, "rb") if path else None
        self.size = os.fstat(self._file.fileno()).st_size if path else len(data)
        self.flipped = -1  # the place of the byte that is wrong

    def read(self, start, count):
        data = os.pread(self._file.fileno(), count, start) if self._file else self._data[start : start + count]
        if start <= self.flipped < start + len(data):
            data = bytearray(data)
            data[self.flipped - start] ^= 0xFF
        return bytes(data)

    def close(self):
        if self._file:
            self._file.close()


@dataclass
class Answer:
    status: int
    headers: dict
    body: Body
    start: int = 0  # the part of the body that is sent
    end: Optional[int] = None

    @property
    def length(self):
        return (self.body.size if self.end is None else self.end) - self.start


def text_answer(status, text, kind="application/json"):
    return Answer(status, {"Content-Type": kind}, Body(text.encode()))


def etag_of(path, fault, seen):
    """The one nginx gives, unless a fault changes it."""
    status = os.stat(path)
    tag = f'"{int(status.st_mtime):x}-{status.st_size:x}"'
    if fault is None or fault.etag == "normal":
        return tag
    return {"weak": "W/" + tag, "none": None, "changes": f'"changed-{seen}"'}[fault.etag]


def still_valid(condition, answer):
    """If-Range: a date, or a strong ETag."""
    if condition.startswith(('"', "W/")):
        return condition == answer.headers.get("ETag") and not condition.startswith("W/")
    return condition == answer.headers.get("Last-Modified")


def wanted_range(headers, answer):
    """(start, end) of the one range asked for and to be given; None: the whole; "bad": 416."""
    size = answer.body.size
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if not found or found.groups() == ("", ""):
        return None
    if "if-range" in headers and not still_valid(headers["if-range"], answer):
        return None
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else "bad"
    start, end = int(first), min(size, int(last) + 1 if last else size)
    return (start, end) if start < end else "bad"


def file_answer(path, headers, fault, seen):
    """What nginx would say, changed by the fault where that isn't a matter of how it is sent."""
    kind = fault.kind if fault else "plain"
    body = Body(path=path)
    etag = etag_of(path, fault, seen)
    answer = Answer(200, {"Content-Type": "application/webc", "Accept-Ranges": "bytes"}, body)
    if etag:
        answer.headers["ETag"] = etag
    if fault is None or fault.etag in ("normal", "weak"):
        answer.headers["Last-Modified"] = formatdate(os.stat(path).st_mtime // 1, usegmt=True)
    if kind == "wrong_bytes":
        body.flipped = fault.after or body.size // 2
    if kind == "ignore_range":
        del answer.headers["Accept-Ranges"]
        return answer
    if kind == "range_lie" and "range" in headers:
        return range_lie(fault.lie, int(re.match(r"bytes=(\d+)", headers["range"])[1]), answer)
    wanted = wanted_range(headers, answer)
    if wanted == "bad":
        answer.status, answer.end = 416, 0
        answer.headers["Content-Range"] = f"bytes */{body.size}"
    elif wanted is not None:
        answer.status, (answer.start, answer.end) = 206, wanted
        del answer.headers["Accept-Ranges"]  # as nginx does
        if kind == "lying_range":  # everything, and says so: not what was asked for
            answer.start, answer.end = 0, body.size
        answer.headers["Content-Range"] = f"bytes {answer.start}-{answer.end - 1}/{body.size}"
        if kind == "wrong_slice":  # says what was asked for, gives the beginning
            answer.start, answer.end = 0, answer.end - answer.start
    return answer


def range_lie(lie, start, answer):
    """What a server says that can't or won't continue a file from `start`."""
    size = answer.body.size
    end = {"416": start, "empty": start, "one_byte": start + 1}.get(lie, size)
    answer.status, answer.start, answer.end = (416 if lie == "416" else 206), start, end
    first, last = (0, size - 1) if lie == "wrong_range" else (start, start if lie == "one_byte" else size - 1)
    answer.headers["Content-Range"] = "bytes */1" if lie == "416" else f"bytes {first}-{last}/{size}"
    if lie == "no_range":
        del answer.headers["Content-Range"]
    if lie == "other_etag":
        answer.headers["ETag"] = '"other"'
    return answer


def instead(fault, url_path, own_base):
    """The answer that a fault gives instead of the right one, if it does."""
    if fault.kind == "status":
        answer = text_answer(fault.status or 500, fault.body or "this is a fault\n", "text/plain")
        if fault.retry_after:
            answer.headers["Retry-After"] = fault.retry_after
        return answer
    if fault.kind == "html":
        return text_answer(200, fault.body or "<!DOCTYPE html><title>Sign in</title>\n", "text/html")
    if fault.kind in ("redirect", "redirect_loop"):
        base = own_base if fault.kind == "redirect_loop" else fault.location
        answer = text_answer(fault.status or 302, "elsewhere\n", "text/plain")
        answer.headers["Location"] = base + url_path
        return answer
    return None


def unauthorized():
    answer = text_answer(401, '{"errors": [{"message": "Invalid token"}]}')
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def compress(answer):
    """Only the part that is sent: as a server would that compresses on the fly, and a range too."""
    data = gzip.compress(answer.body.read(answer.start, answer.length), 6)
    answer.headers["Content-Encoding"] = "gzip"
    if "ETag" in answer.headers and not answer.headers["ETag"].startswith("W/"):
        answer.headers["ETag"] = "W/" + answer.headers["ETag"]
    answer.body.close()
    answer.body, answer.start, answer.end = Body(data), 0, None


def client_left(connection, seconds):
    """Waits that long; true as soon as the other side has closed."""
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        if select.select([connection], [], [], rest)[0]:
            try:
                if not connection.recv(1, socket.MSG_PEEK):
                    return True
            except OSError:
                return True
            time.sleep(min(0.02, rest))  # a pipelined request, which can wait
    return False


class Sender:
    """Writes body bytes, at most `rate` a second, and counts them."""

    def __init__(self, connection, rate):
        self.connection = connection
        self.rate = rate
        self.sent = 0

    def send(self, data):
        if not self.rate:
            self.connection.sendall(data)
            self.sent += len(data)
            return
        step = max(1, self.rate // 20)
        for start in range(0, len(data), step):
            part = data[start : start + step]
            self.connection.sendall(part)
            self.sent += len(part)
            if client_left(self.connection, len(part) / self.rate):
                raise BrokenPipeError

    def send_part(self, answer, count):
        at, end = answer.start, answer.start + min(count, answer.length)
        while at < end:
            data = answer.body.read(at, min(BLOCK, end - at))
            if not data:
                return
            self.send(data)
            at += len(data)

    def send_endless(self, answer):
        """Chunks: the body, then spaces for ever (JSON allows them)."""
        at = answer.start
        while True:
            data = answer.body.read(at, BLOCK) or b" " * BLOCK
            at += len(data)
            self.connection.sendall(f"{len(data):x}\r\n".encode())
            self.send(data)
            self.connection.sendall(b"\r\n")


def send_body(sender, answer, fault):
    """Sends what the headers promise, or not; answers whether the connection can be used again."""
    kind = fault.kind if fault else "plain"
    if kind == "endless":
        sender.send_endless(answer)
    if kind in ("truncate", "stall"):
        sender.send_part(answer, fault.after)
        if kind == "stall":
            while not client_left(sender.connection, 3600):
                pass
        return False
    if kind == "range_lie" and answer.status == 200:
        sender.send_part(answer, answer.length // 2)
        return False
    sender.send_part(answer, answer.length)
    if kind == "excess":
        sender.send(b"x" * (fault.after or 1))
        return False
    return True
