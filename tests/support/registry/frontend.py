# SPDX-License-Identifier: MIT
"""nginx in front of the registry, and the certificates for it."""

import ctypes
import os
import signal
import socket
import subprocess
import time

CONFIG = """
daemon off;
master_process off;
pid "{directory}/nginx.pid";
error_log "{directory}/nginx-error.log" warn;
events {{
  worker_connections 1024;
}}
http {{
  default_type application/webc;
  log_format seen '$request_id $status $body_bytes_sent';
  access_log "{directory}/access.log" seen;
  client_body_temp_path "{directory}/nginx-body";
  proxy_temp_path "{directory}/nginx-proxy";
  fastcgi_temp_path "{directory}/nginx-fastcgi";
  uwsgi_temp_path "{directory}/nginx-uwsgi";
  scgi_temp_path "{directory}/nginx-scgi";
  server_tokens off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 100000;
  upstream registry {{
    server 127.0.0.1:{direct};
    keepalive 64;
    keepalive_requests 100000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{main} backlog=1024;
    listen 127.0.0.1:{other} backlog=1024;
    {tls}
    location / {{
      proxy_pass http://registry;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_next_upstream off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_set_header X-Test-Id $request_id;
      proxy_set_header X-Test-Scheme $scheme;
      proxy_set_header X-Test-Protocol $server_protocol;
      proxy_set_header X-Test-Connection $http_connection;
    }}
    location = /_control {{
      return 404;
    }}
    location = /_close {{
      internal;
      return 444;
    }}
    location /_static/ {{
      internal;
      alias /;
    }}
  }}
}}
"""

TLS = """listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate "{directory}/server.pem";
    ssl_certificate_key "{directory}/server.key";"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


def make_certificates(directory, kind):
    """ca.pem, and a server's certificate: `valid`, `wrong_host`, `expired` (both of that CA) or `self_signed`."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    name = "DNS:elsewhere.invalid" if kind == "wrong_host" else "DNS:localhost,IP:127.0.0.1"
    ca, ca_key = os.path.join(directory, "ca.pem"), os.path.join(directory, "ca.key")
    server, key = os.path.join(directory, "server.pem"), os.path.join(directory, "server.key")
    openssl("req", "-x509", *new, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=pkgfs test CA")
    if kind == "self_signed":
        openssl("req", "-x509", *new, "-keyout", key, "-out", server, "-days", "2", "-subj", "/CN=server",
                "-addext", "subjectAltName=" + name)  # fmt: skip
        return
    request = os.path.join(directory, "server.csr")
    openssl("req", *new, "-keyout", key, "-out", request, "-subj", "/CN=server")
    extensions = os.path.join(directory, "server.ext")
    with open(extensions, "w", encoding="utf-8") as file:
        file.write("subjectAltName=" + name + "\n")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", server,
            "-days", "-1" if kind == "expired" else "2", "-extfile", extensions)  # fmt: skip


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Frontend:
    """Start and stop it in the main thread: it dies with the thread that started it."""

    def __init__(self, directory, ports, program, tls):
        self.ports = ports
        self.process = None
        self.command = [program, "-p", directory, "-e", os.path.join(directory, "nginx-error.log"),
                        "-c", os.path.join(directory, "nginx.conf")]  # fmt: skip
        if tls:
            make_certificates(directory, tls)
        with open(os.path.join(directory, "nginx.conf"), "w", encoding="utf-8") as file:
            listen = TLS.format(directory=directory, **ports) if tls else ""
            file.write(CONFIG.format(**{**ports, "directory": directory, "tls": listen}))

    def start(self):
        if self.process:
            return
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        end = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError("nginx doesn't start")
            time.sleep(0.005)

    def answers(self):
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.ports["main"])) == 0

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
