"""No proxy: what client and upstream do alone."""

from bench.macro.peer import Launch, Setup

NAME = "direct"
PROTOCOLS = ("http/1.1",)
BALANCERS = ("",)


def version() -> str:
    return "-"


def launch(setup: Setup) -> Launch | None:
    return None
