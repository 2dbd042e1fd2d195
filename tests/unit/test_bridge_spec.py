"""What the core will not take is refused with the number's name and bounds, and what was published before stays."""

import pytest

from fastmesh._core import bridge
from tests.support.worker import Plan

PLAN = Plan(["127.0.0.1:80"])
SLOTS = {"127.0.0.1:80": 0}


def published(plan: Plan) -> int:
    """Its version, published after a lawful snapshot; a refusal leaves that one in force."""
    publisher = bridge.Publisher(1)
    publisher.publish(PLAN.snapshot(1, SLOTS))
    try:
        return publisher.publish(plan.snapshot(2, SLOTS))
    except ValueError:
        assert publisher.version() == 1
        raise


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("policy", {"http2_streams": 1, "http2_glitches": 0, "http2_window": 65535}),
        ("policy", {"http2_streams": 1000, "http2_glitches": (1 << 32) - 1, "http2_window": 1 << 20}),
        ("backend", {"protocol": 0, "max_streams": 1, "ping_interval_ns": 0, "ping_timeout_ns": 1}),
        ("backend", {"protocol": 2, "max_streams": 1000, "ping_interval_ns": 1, "ping_timeout_ns": 1 << 62}),
        ("route", {"grpc_web": 1, "retry_grpc": (1 << 17) - 1}),
    ],
)
def test_bounds_are_lawful(part: str, values: dict[str, int]) -> None:
    assert published(PLAN.but(**{part: values})) == 2


@pytest.mark.parametrize(
    ("part", "name", "wrong", "bounds"),
    [
        ("policy", "http2_streams", (0, 1001), "1 to 1000"),
        ("policy", "http2_glitches", (-1, 1 << 32), "0 to 4294967295"),
        ("policy", "http2_window", (65534, (1 << 20) + 1), "65535 to 1048576"),
        ("backend", "protocol", (-1, 3), "0 to 2"),
        ("backend", "max_streams", (0, 1001), "1 to 1000"),
        ("backend", "ping_interval_ns", (-1, 1 << 63), "0 to 9223372036854775807"),
        ("backend", "ping_timeout_ns", (0, 1 << 63), "1 to 9223372036854775807"),
        ("route", "retry_grpc", (-1, 1 << 17), "0 to 131071"),
    ],
)
def test_a_number_out_of_bounds_is_refused(part: str, name: str, wrong: tuple[int, ...], bounds: str) -> None:
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{name} {value}: must be {bounds}$"):
            published(PLAN.but(**{part: {name: value}}))
