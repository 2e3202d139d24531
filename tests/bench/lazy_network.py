# SPDX-License-Identifier: MIT
"""The test registry with one package, a server for its file, and a slow network in front of both."""
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

NGINX = "/usr/sbin/nginx"
# The test registry's own nginx asks a Python program at each request for a file. That takes milliseconds, which no
# server of files needs, and which would be measured here.
CONFIG = """
daemon off;
master_process off;
pid "{directory}/files.pid";
error_log "{directory}/files-error.log" warn;
events {{
  worker_connections 1024;
}}
http {{
  default_type application/webc;
  log_format seen '$uri $status $body_bytes_sent';
  access_log "{directory}/files.log" seen;
  client_body_temp_path "{directory}/files-body";
  proxy_temp_path "{directory}/files-proxy";
  fastcgi_temp_path "{directory}/files-fastcgi";
  uwsgi_temp_path "{directory}/files-uwsgi";
  scgi_temp_path "{directory}/files-scgi";
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 100000;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://127.0.0.1:{registry};
      proxy_set_header Host $http_host;
    }}
    location ~ ^/files/ {{
      alias "{package}";
    }}
  }}
}}
"""

SUPPORT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../support")


class Port:
    """A port that no other process gets. It is bound but doesn't listen: the server binds it too."""

    def __init__(self):
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", 0))
        self.number = self.reserved.getsockname()[1]


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Registry:
    """Serves `package`, a container, under the name that its manifest states."""

    def __init__(self, package, places):
        self.directory = tempfile.mkdtemp(prefix="registry-", dir=places)
        self.ports = {name: Port() for name in ("main", "other", "direct", "tls")}
        settings = {"directory": self.directory, "owner": os.getpid(), "nginx": NGINX, "tls": "",
                    "packages": [package], "ports": {name: port.number for name, port in self.ports.items()}}
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-s", os.path.join(SUPPORT, "registry/server.py"), json.dumps(settings)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the test registry doesn't start (it needs nginx-light and python3-graphql-core)")

    def ask(self, **command):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["direct"].number, timeout=60)
        connection.request("POST", "/_control", json.dumps(command))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def file_path(self, package):
        return self.ask(do="find", name=package)["path"]

    def end(self):
        end(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)


class FileServer:
    """nginx, which sends `package`, and passes all other requests to the registry."""

    def __init__(self, package, registry):
        self.directory = registry.directory
        self.port = Port()
        self.seen = 0  # lines of the log that `clear` has forgotten
        config = os.path.join(self.directory, "files.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(directory=self.directory, port=self.port.number, package=os.path.abspath(package),
                                     registry=registry.ports["main"].number))
        self.process = subprocess.Popen([NGINX, "-p", self.directory, "-e", f"{self.directory}/files-error.log", "-c",
                                         config], stdin=subprocess.DEVNULL)
        self.wait_until_it_answers()

    def wait_until_it_answers(self):
        limit = time.monotonic() + 20
        while True:
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", self.port.number)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError("nginx doesn't start")
            time.sleep(0.01)

    def log(self):
        with open(os.path.join(self.directory, "files.log"), encoding="utf-8") as file:
            return [line.split() for line in file if line.endswith("\n")]

    def requests(self):
        """The requests since `clear`, and the bytes of the package that were sent for them."""
        before = len(self.log())
        while True:  # nginx writes a line a moment after the client has all bytes
            time.sleep(0.1)
            lines = self.log()
            if len(lines) == before:
                break
            before = len(lines)
        lines = lines[self.seen:]
        sent = [int(line[-1]) for line in lines if line[0].startswith("/files/")]
        return {"requests": len(lines), "file_requests": len(sent), "bytes": sum(sent)}

    def clear(self):
        time.sleep(0.1)
        self.seen = len(self.log())


class Network:
    """A registry behind a proxy with this round trip and rate. `with` it."""

    def __init__(self, build, package, places, rtt_ms, mbit):
        self.registry = Registry(package, places)
        self.files = FileServer(package, self.registry)
        self.control = os.path.join(self.registry.directory, "proxy")
        self.proxy = subprocess.Popen(
            [os.path.join(build, "tests/slow_proxy"), "--to", f"127.0.0.1:{self.files.port.number}",
             "--rtt-ms", str(rtt_ms), "--mbit", str(mbit), "--control", self.control],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.authority = f"http://127.0.0.1:{int(self.proxy.stdout.readline())}"
        self.endpoint = self.authority + "/graphql"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.proxy)
        end(self.files.process)
        self.registry.end()

    def command(self, line):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.control)
            client.sendall(line.encode() + b"\n")
            answer = client.makefile().readline().strip()
        if not answer.startswith(("ok", "{")):
            raise RuntimeError(f"slow_proxy: {answer}")
        return answer

    def set(self, rtt_ms, mbit):
        self.command(f"rtt {rtt_ms}")
        self.command(f"mbit {mbit}")

    def connections(self):
        return json.loads(self.command("counts"))["connections"]
