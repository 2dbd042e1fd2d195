"""No proxy: what client and upstream do alone."""

from bench.macro.peer import OVER_HTTP1, OVER_HTTP2, OVER_TCP, Launch, Setup

NAME = "direct"
PROTOCOLS = (OVER_HTTP1, OVER_HTTP2, OVER_TCP)
BALANCERS = ("",)


def version() -> str:
    return "-"


def launch(setup: Setup) -> Launch | None:
    return None
