"""The one upstream of every measure with HTTP/1 behind the proxy: nginx with one worker. Answers of a few
sizes; /upload reads a body to its end, /slow waits two seconds.

The echo module (part of Debian's nginx-light) is for /upload: nginx itself answers before the body's end and closes.
"""

from pathlib import Path

from bench.macro.processes import Process

SIZES = {"/": 100, "/1k": 1024, "/64k": 64 * 1024, "/10m": 10 * 1024 * 1024}
SLOW_S = 2

CONFIG = """\
daemon off;
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {work}/nginx.pid;
error_log {work}/error.log error;
events {{ worker_connections 60000; multi_accept on; }}
http {{
  access_log off;
  keepalive_timeout 600;
  keepalive_requests 2000000000;
  client_max_body_size 0;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u;
  scgi_temp_path {work}/s;
  sendfile on;
  open_file_cache max=16;
  default_type application/octet-stream;
  server {{
    listen {port} backlog=4096;
    root {work}/files;
    location / {{ return 200 "{body}"; }}
    location = /upload {{ client_body_buffer_size 11m; echo_read_request_body; echo_duplicate 1 "{body}"; }}
    location = /slow {{ echo_sleep {slow_s}; echo_duplicate 1 "{body}"; }}
    location = /1k {{ }}
    location = /64k {{ }}
    location = /10m {{ }}
  }}
}}
"""


def start(work: Path, port: int, core: int) -> Process:
    """Ready when it returns. It listens on every loopback address, so that one server can be many endpoints."""
    files = work / "files"
    files.mkdir(parents=True)
    for path, size in SIZES.items():
        if path != "/":
            (files / path[1:]).write_bytes(b"x" * size)
    config = work / "nginx.conf"
    config.write_text(CONFIG.format(work=work, port=port, body="x" * SIZES["/"], slow_s=SLOW_S))
    process = Process(["nginx", "-p", str(work), "-c", str(config)], core=core, log=work / "log")
    process.wait_ready(port)
    return process
