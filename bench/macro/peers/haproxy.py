"""HAProxy: one thread, upstream connections shared by all clients (http-reuse always), balance random."""

import subprocess

from bench.macro.peer import Launch, Setup

NAME = "haproxy"
PROTOCOLS = ("http/1.1", "h2")
BALANCERS = ("random", "roundrobin", "leastconn")

CONFIG = """\
global
  nbthread {workers}
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  no log
frontend front
  bind {host}:{listen} backlog 4096
  {routes}
  default_backend backend
backend backend
  balance {balancer}
  http-reuse always
  {servers}
"""


def version() -> str:
    done = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def launch(setup: Setup) -> Launch | None:
    servers = (f"server s{i} {endpoint}" for i, endpoint in enumerate(setup.endpoints))
    routes = (f"use_backend backend if {{ path_beg /route/{i}/ }}" for i in range(1, setup.routes))
    config = setup.work / "haproxy.cfg"
    config.write_text(
        CONFIG.format(
            workers=setup.workers,
            host=setup.host,
            listen=setup.listen,
            balancer=setup.balancer or BALANCERS[0],
            servers="\n  ".join(servers),
            routes="\n  ".join(routes),
        )
    )
    return Launch(["haproxy", "-db", "-f", str(config)])
