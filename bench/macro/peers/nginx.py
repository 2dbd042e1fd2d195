"""nginx: one worker, keep-alive to the upstream over HTTP/1.1, no access log, bodies streamed and never in a file.

Its HTTP/2 is the client's side only. TCP is its stream module's.
"""

import subprocess

from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP1, OVER_TCP, Launch, Setup

NAME = "nginx"
PROTOCOLS = (OVER_HTTP1, OVER_TCP, (HTTP2, HTTP1))
BALANCERS = ("round_robin", "least_conn", "random two least_conn")

CONFIG = """\
daemon off;
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {work}/nginx.pid;
error_log {work}/error.log error;
events {{ worker_connections {room}; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_timeout 300;
  keepalive_requests 2000000000;
  client_max_body_size 0;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u;
  scgi_temp_path {work}/s;
  proxy_max_temp_file_size 0;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  upstream backend {{
    {balancer}
    {servers}
    keepalive {keepalive};
    keepalive_requests 2000000000;
    keepalive_timeout 300;
  }}
  server {{
    listen {host}:{listen} backlog=4096{reuseport}{http2};
    location / {{ proxy_pass http://backend; }}
    {routes}
  }}
}}
"""

STREAM = """\
daemon off;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {work}/nginx.pid;
error_log {work}/error.log error;
events {{ worker_connections 16384; multi_accept on; }}
stream {{
  tcp_nodelay on;
  upstream backend {{ {servers} }}
  server {{ listen {host}:{listen} backlog=4096; proxy_pass backend; }}
}}
"""


def version() -> str:
    return subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().rpartition("/")[2]


def _stream(setup: Setup) -> str:
    servers = " ".join(f"server {endpoint};" for endpoint in setup.endpoints)
    return STREAM.format(
        work=setup.work, host=setup.host, listen=setup.listen, workers=setup.workers, servers=servers
    )  # fmt: skip


def _http(setup: Setup) -> str:
    balancer = "" if setup.balancer in ("", "round_robin") else f"{setup.balancer};"
    locations = (f"location /route/{i}/ {{ proxy_pass http://backend; }}" for i in range(1, setup.routes))
    return CONFIG.format(
        work=setup.work,
        host=setup.host,
        listen=setup.listen,
        workers=setup.workers,
        room=max(4096, 3 * len(setup.endpoints)),
        reuseport=" reuseport" if setup.workers > 1 else "",
        http2=" http2" if setup.protocols[0] == HTTP2 else "",
        balancer=balancer,
        servers="\n    ".join(f"server {endpoint};" for endpoint in setup.endpoints),
        keepalive=max(256, 2 * len(setup.endpoints)),
        routes="\n    ".join(locations),
    )


def launch(setup: Setup) -> Launch | None:
    config = setup.work / "nginx.conf"
    config.write_text(_stream(setup) if setup.protocols == OVER_TCP else _http(setup))
    return Launch(["nginx", "-p", str(setup.work), "-c", str(config)])
