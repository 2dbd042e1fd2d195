"""A TCP forwarder that parses nothing: what any proxy on this machine pays to the kernel."""

from bench.macro.native import program
from bench.macro.peer import OVER_HTTP1, OVER_HTTP2, OVER_TCP, Launch, Setup

NAME = "floor"
PROTOCOLS = (OVER_HTTP1, OVER_HTTP2, OVER_TCP)
BALANCERS = ("",)


def version() -> str:
    return "bench/floor/forwarder.c"


def launch(setup: Setup) -> Launch | None:
    """Builds it too. Raises CalledProcessError when the compiler refuses; ValueError for more than one endpoint."""
    (endpoint,) = setup.endpoints
    return Launch([str(program("floor/forwarder.c")), f"{setup.host}:{setup.listen}", endpoint])
