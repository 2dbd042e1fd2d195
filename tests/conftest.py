"""After every test: each fastmesh process that is still running has given back what it took."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    """Connections, exchanges, buffers and descriptors of every live process are back at rest when a test ends."""
    yield
    module = sys.modules.get("tests.support.fastmesh")
    if module is not None:
        for proxy in list(module.Fastmesh.live):
            proxy.settle()
