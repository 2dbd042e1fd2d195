"""A TCP forwarder that parses nothing: what any proxy on this machine pays to the kernel."""

import subprocess
from pathlib import Path

from bench.macro.peer import Launch, Setup

NAME = "floor"
PROTOCOLS = ("http/1.1",)
BALANCERS = ("",)

SOURCE = Path(__file__).parents[2] / "floor" / "forwarder.c"


def version() -> str:
    return "bench/floor/forwarder.c"


def launch(setup: Setup) -> Launch | None:
    """Builds it too. Raises CalledProcessError when the compiler refuses; ValueError for more than one endpoint."""
    (endpoint,) = setup.endpoints
    program = setup.work / "forwarder"
    subprocess.run(["gcc", "-O2", "-o", program, SOURCE], check=True)
    return Launch([str(program), str(setup.listen), endpoint.rpartition(":")[2]])
