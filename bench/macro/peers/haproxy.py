"""HAProxy: one thread, upstream connections shared by all clients (http-reuse always), balance random.

HTTP/2 with windows of 1 MiB, for long bodies; its own 64 KiB would have it wait for window updates.
"""

import subprocess

from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP1, OVER_HTTP2, OVER_TCP, Launch, Setup

NAME = "haproxy"
PROTOCOLS = (OVER_HTTP1, OVER_HTTP2, OVER_TCP, (HTTP1, HTTP2), (HTTP2, HTTP1))
BALANCERS = ("random", "roundrobin", "leastconn")

CONFIG = """\
global
  nbthread {workers}
  maxconn 8000
  tune.h2.initial-window-size 1048576
defaults
  mode {mode}
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  no log
frontend front
  bind {host}:{listen} backlog 4096{downstream}
  {routes}
  default_backend backend
backend backend
  balance {balancer}
  {reuse}
  {servers}
"""


def version() -> str:
    done = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def launch(setup: Setup) -> Launch | None:
    downstream, upstream = (" proto h2" if protocol == HTTP2 else "" for protocol in setup.protocols)
    servers = (f"server s{i} {endpoint}{upstream}" for i, endpoint in enumerate(setup.endpoints))
    routes = (f"use_backend backend if {{ path_beg /route/{i}/ }}" for i in range(1, setup.routes))
    config = setup.work / "haproxy.cfg"
    config.write_text(
        CONFIG.format(
            workers=setup.workers,
            mode="tcp" if setup.protocols == OVER_TCP else "http",
            reuse="" if setup.protocols == OVER_TCP else "http-reuse always",
            host=setup.host,
            listen=setup.listen,
            downstream=downstream,
            balancer=setup.balancer or BALANCERS[0],
            servers="\n  ".join(servers),
            routes="\n  ".join(routes),
        )
    )
    return Launch(["haproxy", "-db", "-f", str(config)])
