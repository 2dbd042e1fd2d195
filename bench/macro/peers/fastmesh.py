"""fastmesh as it comes: one worker, metrics on, access log off. TCP it has to detect."""

import subprocess
import sys
from pathlib import Path

from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP1, OVER_HTTP2, OVER_TCP, TCP, Launch, Setup
from bench.macro.processes import free_port

NAME = "fastmesh"
PROTOCOLS = (OVER_HTTP1, OVER_HTTP2, OVER_TCP, (HTTP1, HTTP2), (HTTP2, HTTP1))
BALANCERS = ("p2c_ewma", "least_request", "round_robin", "random")
SUBSET = True  # it can be told to use some of its endpoints

ROOT = Path(__file__).parents[3]

# A Python thread that computes without pause, with the kernel's idle policy: what it takes away is the lock, no time.
SPIN = """
import os, sys, threading
def spin():
    os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass
threading.Thread(target=spin, daemon=True).start()
from fastmesh.cli import main
sys.argv = ["fastmesh", "run"]
sys.exit(main())
"""


def version() -> str:
    done = subprocess.run(
        [sys.executable, "-c", "import fastmesh; print(fastmesh.__version__)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def _config(setup: Setup) -> str:
    lines = ["[[backends]]", 'name = "bench"', f"endpoints = {list(setup.endpoints)}"]
    for i in range(1, setup.routes):
        lines += ["[[routes]]", f'name = "r{i}"', 'backend = "bench"', f'path_prefix = "/route/{i}"']
    lines += ["[[routes]]", 'name = "rest"', 'backend = "bench"']
    return "\n".join(lines) + "\n"


def launch(setup: Setup) -> Launch | None:
    config = setup.work / "fastmesh.toml"
    config.write_text(_config(setup))
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "",  # pip compiles what it installs; modules compiled at start leave memory in use
        "FASTMESH_CONFIG": str(config),
        "FASTMESH_LISTEN": f"{setup.host}:{setup.listen}",
        "FASTMESH_ADMIN": f"127.0.0.1:{free_port()}",
        "FASTMESH_BALANCER": setup.balancer or BALANCERS[0],
        "FASTMESH_WORKERS": str(setup.workers),
        "FASTMESH_ACCESS_LOG": "off",
        "FASTMESH_DRAIN_TIMEOUT": "1s",
    }
    if setup.protocols[0] == TCP:
        environment["FASTMESH_LISTENER_PROTOCOL"] = "detect"
    elif setup.protocols != OVER_HTTP1:
        environment["FASTMESH_UPSTREAM_PROTOCOL"] = "http2" if setup.protocols[1] == HTTP2 else "http1"
    if len(setup.endpoints) > 1000:
        environment["FASTMESH_ENDPOINT_SLOTS"] = str(2 * len(setup.endpoints))
    if setup.subset:
        environment["FASTMESH_UPSTREAM_SUBSET"] = str(setup.subset)
    if setup.routes > 200:
        environment["FASTMESH_METER_BLOCKS"] = str(2 * setup.routes)
    if setup.spin:
        return Launch([sys.executable, "-c", SPIN], environment)
    return Launch([sys.executable, "-m", "fastmesh", "run"], environment)
