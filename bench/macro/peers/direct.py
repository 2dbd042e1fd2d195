"""No proxy: what client and upstream do alone."""

from bench.macro.peer import OVER_HTTP1, OVER_HTTP2, Launch, Setup

NAME = "direct"
PROTOCOLS = (OVER_HTTP1, OVER_HTTP2)
BALANCERS = ("",)


def version() -> str:
    return "-"


def launch(setup: Setup) -> Launch | None:
    return None
