# SPDX-License-Identifier: MIT
"""The test registry: everything asked of it passes here; nginx in front of it sends the files.

A request without a fault for a file is answered with X-Accel-Redirect, so that nginx serves it with its own ETag and
Range; whatever shall go wrong is sent from here, and nginx passes it on unbuffered. The C++ side drives it through
POST /_control on the port of this program, which nginx doesn't forward.
"""

import argparse
import json
import os
import queue
import select
import shutil
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

import answers
import schema
from faults import Fault, Faults
from frontend import Frontend
from store import Store


SLOW_RATE = 8 << 20  # bytes a second of one answer, which nginx sends in pieces


class Registry:
    """What all threads share."""

    def __init__(self, ports, directory):
        self.ports = ports
        self.directory = directory
        self.store = Store()
        self.faults = Faults()
        # What a request gets that no fault is aimed at: PKGFS_TEST_SERVER_DELAY_MS makes every server slow.
        delay = int(os.environ.get("PKGFS_TEST_SERVER_DELAY_MS") or 0)
        self.usual = Fault("plain", latency_ms=delay) if delay else None
        self.tasks = queue.SimpleQueue()  # for the main thread: only its children die with it
        self.other_base = f"http://127.0.0.1:{ports['other']}"
        self.direct_base = f"http://127.0.0.1:{ports['direct']}"
        self.lock = threading.Lock()
        self.seen = []

    def requests(self):
        """nginx knows how what it sent itself ended; its log has that a moment after the client does."""
        end = time.monotonic() + 0.5
        while True:
            with self.lock:
                found = [dict(entry) for entry in self.seen]
            log = self.read_log()
            for entry in found:
                if entry.pop("by_nginx") and entry["id"] in log:
                    entry["status"], entry["sent"] = log[entry["id"]]
            if all(entry["status"] for entry in found) or time.monotonic() > end:
                return found
            time.sleep(0.01)

    def read_log(self):
        with open(os.path.join(self.directory, "access.log"), encoding="utf-8") as file:
            lines = [line.split() for line in file if line.endswith("\n")]
        return {identity: (int(status), int(sent)) for identity, status, sent in lines}

    def control(self, command):
        name = command["do"]
        if name == "requests":
            return self.requests()
        if name == "clear":
            with self.lock:
                self.seen.clear()
        elif name == "faults":
            for fault in command["faults"]:
                if fault["kind"] == "redirect":
                    fault["location"] = fault["location"] or self.other_base
            self.faults.set(command["faults"])
        elif name == "add":
            self.store.add(command["path"], command.get("name", ""), command.get("version", ""))
        elif name == "archive":
            self.store.archive(command["name"], command["version"])
        elif name == "find":
            found = self.store.find(command["name"])
            return {"path": found.url_path, "sha256": found.sha256}
        elif name in ("start", "stop"):
            done = queue.SimpleQueue()
            self.tasks.put((name, done))
            if error := done.get():
                raise RuntimeError(error)
        return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry: Registry

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def do_GET(self):
        self.handle_request()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_GET

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/_control":
            self.control(body)
            return
        headers = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        headers = {name: ", ".join(values) for name, values in headers.items()}
        behind = headers.pop("x-test-id", None)
        scheme = headers.pop("x-test-scheme", "http")
        protocol = headers.pop("x-test-protocol", self.request_version)
        if connection := headers.pop("x-test-connection", ""):
            headers["connection"] = connection
        path, _, query = self.path.partition("?")
        entry = {"method": self.command, "path": path, "query": query, "headers": headers, "protocol": protocol,
                 "body": body.decode(errors="replace"), "status": 0, "sent": 0, "by_nginx": False,
                 "id": behind or "", "direct": behind is None}  # fmt: skip
        with self.registry.lock:
            self.registry.seen.append(entry)
        self.base = f"{scheme}://{headers.get('host', '')}"
        try:
            self.answer(entry, body)
        except answers.LEFT:
            entry["status"] = entry["status"] or 499
            self.close_connection = True

    def control(self, body):
        try:
            reply = {"ok": self.registry.control(json.loads(body))}
        except Exception as error:  # pylint: disable=broad-except
            reply = {"error": f"{type(error).__name__}: {error}"}
        self.close_connection = True
        self.send(answers.text_answer(200, json.dumps(reply)), None, {})

    def answer(self, entry, body):
        graphql = not entry["path"].startswith("/files/")
        text = schema.search_text(body) if graphql else unquote(entry["path"])
        host = entry["headers"].get("host", "")
        fault, seen = self.registry.faults.pick("graphql" if graphql else "files", text, host)
        fault = fault or self.registry.usual
        if fault and client_left_early(self.connection, fault):
            raise BrokenPipeError
        result = self.faulty_answer(fault, entry) if fault else None
        if result is None:
            if graphql:
                result = self.graphql(entry, body, fault)
            else:
                result = self.file(entry, fault, seen)
        if result is not None:
            if fault and fault.kind == "gzip":
                answers.compress(result)
            self.send(result, fault, entry)

    def faulty_answer(self, fault, entry):
        if fault.kind == "unauthorized" and entry["headers"].get("authorization") != f"Bearer {fault.token}":
            return answers.unauthorized()
        if fault.kind == "close":
            self.close_connection = True
            entry["status"] = 444
            if entry["direct"]:
                raise BrokenPipeError
            return answers.Answer(200, {"X-Accel-Redirect": "/_close"}, answers.Body())
        return answers.instead(fault, self.path, self.base)

    def graphql(self, entry, body, fault):
        if entry["path"] != "/graphql":
            return answers.text_answer(404, "no such page\n", "text/plain")
        if entry["method"] != "POST":
            return answers.text_answer(405, '{"errors": [{"message": "POST it"}]}')
        context = schema.Context(self.registry.store, self.base, fault)
        if self.registry.faults.needs_direct():
            context.file_base = self.registry.direct_base
        return answers.text_answer(*schema.answer(context, body))

    def file(self, entry, fault, seen):
        container = self.registry.store.by_url(entry["path"])
        if container is None:
            return answers.text_answer(404, "no such file\n", "text/plain")
        if entry["method"] not in ("GET", "HEAD"):
            return answers.text_answer(405, "GET it\n", "text/plain")
        plain = fault is None or (fault.kind in ("plain", "unauthorized") and fault.etag == "normal" and not fault.rate)
        if plain and not entry["direct"]:
            entry["by_nginx"] = True
            headers = {"Content-Type": "application/webc", "X-Accel-Redirect": quote("/_static" + container.path)}
            if self.registry.usual:
                headers["X-Accel-Limit-Rate"] = str(SLOW_RATE)
            return answers.Answer(200, headers, answers.Body())
        return answers.file_answer(container.path, entry["headers"], fault, seen)

    def send(self, answer, fault, entry):
        if not entry.get("by_nginx"):
            entry["status"] = entry.get("status") or answer.status
        if fault and fault.kind == "endless":
            answer.headers["Transfer-Encoding"] = "chunked"
        else:
            answer.headers["Content-Length"] = str(answer.length)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            answer.body.close()
            return
        sender = answers.Sender(self.connection, fault.rate if fault else 0)
        try:
            if not answers.send_body(sender, answer, fault):
                self.close_connection = True
        finally:
            if not entry.get("by_nginx"):
                entry["sent"] = sender.sent
            answer.body.close()


def client_left_early(connection, fault):
    return fault.latency_ms > 0 and answers.client_left(connection, fault.latency_ms / 1000)


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], answers.LEFT):
            super().handle_error(request, client_address)


def watch_owner(owner, tasks):
    """A test that crashed or was killed can't stop us."""
    handle = os.pidfd_open(owner)
    if os.getppid() == owner:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll()
    tasks.put(("orphaned", None))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", help="JSON: directory, ports, owner, packages, nginx, tls")
    settings = json.loads(parser.parse_args().settings)
    directory = settings["directory"]
    registry = Registry(settings["ports"], directory)
    signal.signal(signal.SIGTERM, lambda *_: registry.tasks.put(("quit", None)))
    threading.Thread(target=watch_owner, args=(settings["owner"], registry.tasks), daemon=True).start()
    for package in settings["packages"]:
        registry.store.add(package)
    Handler.registry = registry
    server = Server(("127.0.0.1", settings["ports"]["direct"]), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    frontend = Frontend(directory, settings["ports"], settings["nginx"], settings["tls"])
    frontend.start()
    print("ready", flush=True)
    name = ""
    while name not in ("quit", "orphaned"):
        name, done = registry.tasks.get()
        if name in ("start", "stop"):
            try:
                getattr(frontend, name)()
                done.put("")
            except Exception as error:  # pylint: disable=broad-except
                done.put(str(error))
    frontend.stop()
    if name == "orphaned":
        shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.flush()
    os._exit(0)  # threads may be in the middle of an endless answer


if __name__ == "__main__":
    main()
