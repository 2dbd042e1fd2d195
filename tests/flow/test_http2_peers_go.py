"""Go's net/http as client and as server, in every combination of HTTP/1 and HTTP/2, through fastmesh.

The program and its cases are tools/conformance/nethttp, which `make conformance` also runs direct.
"""

import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.peer import before
from tests.support.server import plain_environment
from tests.support.wait import DEADLINE_S

SOURCE = pathlib.Path(__file__).parents[2] / "tools" / "conformance" / "nethttp"
GO_LEAST = (1, 24)  # has cleartext HTTP/2 in net/http
BUILD_S = 300
ASK_S = 50
CASES = 21
VERSIONS = ("http1", "http2")
WAYS = [(client, server) for client in VERSIONS for server in VERSIONS]


def find_go() -> str:
    """A Go that is new enough, or the tests are skipped."""
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        pytest.skip("needs Go (golang)")
    shown = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, cwd="/", env=plain_environment()
    ).stdout
    found = re.match(r"go(\d+)\.(\d+)", shown)
    if found is None or (int(found[1]), int(found[2])) < GO_LEAST:
        pytest.skip(f"needs Go 1.24 or newer, and {go} is {shown.strip()}")
    return go


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    built = tmp_path_factory.mktemp("go") / "nethttp"
    subprocess.run(
        [find_go(), "build", "-o", str(built), "."], cwd=SOURCE, check=True, timeout=BUILD_S, env=plain_environment()
    )
    return str(built)


@pytest.fixture
def go_server(program: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server of the version that the test names."""
    with subprocess.Popen(
        [program, "serve", request.getfixturevalue("server")], stdout=subprocess.PIPE, text=True,
        env=plain_environment(),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("listen=")
        finally:
            process.kill()
            process.wait(DEADLINE_S)


@pytest.mark.timeout(BUILD_S + 60)
@pytest.mark.parametrize(("client", "server"), WAYS)
def test_every_case_of_net_http(program: str, client: str, server: str, go_server: str) -> None:
    """Bodies both ways to 10 MB, trailers, interim responses, cancelling, full duplex, a hundred requests at once."""
    with before(go_server, server) as address:
        done = subprocess.run(
            [program, "ask", client, address], capture_output=True, text=True, timeout=ASK_S, check=False,
            env=plain_environment(),
        )  # fmt: skip
    verdicts = dict(line.split("\t") for line in done.stdout.splitlines())
    assert done.returncode == 0, done.stderr
    assert {case: wrong for case, wrong in verdicts.items() if wrong} == {}
    assert len(verdicts) == CASES
