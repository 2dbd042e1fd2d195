"""One fastmesh and one origin for every module of cases: connections are cheap, processes are not."""

from collections.abc import Iterator

import pytest

from tests.support.http2_case import Server
from tests.support.http2_upstream import Upstream


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def http2_server() -> Iterator[Server]:
    """The same before an origin of HTTP/2."""
    with Server("http2") as server:
        yield server


@pytest.fixture(scope="module")
def module_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(module_upstream: Upstream) -> Iterator[Upstream]:
    """Without connections or scripts of the test before, also where that one failed."""
    yield module_upstream
    module_upstream.clear()
