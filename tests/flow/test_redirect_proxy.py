"""fastmesh itself behind its own rules: it becomes the user whose connections they leave alone."""

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import netns
from tests.support.fastmesh import Fastmesh
from tests.support.netns import Namespace
from tests.support.reach import for_everyone
from tests.support.wait import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENT, SERVER, USER = "192.0.2.1", "192.0.2.2", "2102"
PORT = 8000

pytestmark = pytest.mark.skipif(bool(netns.impossible()), reason=netns.impossible())


@pytest.fixture
def machines(tmp_path: pathlib.Path) -> Iterator[tuple[Namespace, Namespace]]:
    """A client and, joined to it, a server of one file."""
    (tmp_path / "page").write_text("from the server")
    with Namespace() as client, Namespace() as server:
        client.join(server, (f"{CLIENT}/24",), (f"{SERVER}/24",))
        command = ["ip", "netns", "exec", server.name, sys.executable, "-m", "http.server", str(PORT)]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: f":{PORT}" in server.run("ss", "-Hltn"), "the server")
            yield client, server
        finally:
            process.kill()
            process.wait()


def test_what_a_client_sends_passes_fastmesh_once(
    machines: tuple[Namespace, Namespace], tmp_path: pathlib.Path
) -> None:
    client, _ = machines
    variables = {"FASTMESH_USER": USER, "PYTHONPATH": str(ROOT)}
    client.run(sys.executable, "-m", "fastmesh", "redirect", "apply", **variables)
    with Fastmesh(
        listen="127.0.0.1:4140", admin=f"unix:{tmp_path}/admin", upstream=f"{SERVER}:{PORT}", user=USER,
        before=("ip", "netns", "exec", client.name, *for_everyone()),
    ) as proxy:  # fmt: skip
        for count in (1, 2):
            answer = client.run("curl", "-sS", "--max-time", "10", "-i", f"http://{SERVER}:{PORT}/page")
            assert answer.startswith("HTTP/1.1 200")
            assert answer.endswith("from the server")
            assert proxy.counts().sum("fastmesh_requests_total") == count
