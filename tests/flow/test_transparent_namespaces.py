"""Two machines, a fastmesh on each, and nobody told: what the client opens is redirected to the one beside it, what the
server takes to the other. Network namespaces of the test's own, `fastmesh redirect` inside."""

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import trustme

from tests.support import netns
from tests.support.fastmesh import Fastmesh
from tests.support.netns import Namespace, Peer
from tests.support.sidecars import ORIGINAL, Count, redirect, transparent
from tests.support.wait import until

APP = 1000
HTTP1, HTTP2, TLS = 8000, 8001, 8443  # ports of the server
SPOKEN, REDIS = 8002, 6379  # here it speaks first
HEARD = 8003
# Answers with the PROXY protocol header that each connection begins with.
HEARER = f"""
import socket
server = socket.create_server(("", {HEARD}))
while True:
    with server.accept()[0] as sock:
        data = b""
        while b"\\r\\n\\r\\n" not in data and (more := sock.recv(65536)):
            data += more
        line = data.partition(b"\\r\\n")[0]
        sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(line), line))
"""
CLIENT = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}
SERVER = {"ipv4": "192.0.2.2", "ipv6": "2001:db8::2"}
ELSEWHERE = "192.0.2.3"  # the server's too
FAMILIES = ("ipv4", "ipv6")

MISSING = [program for program in ("curl", "nghttpd") if shutil.which(program) is None]
WHY_NOT = netns.impossible() or (f"needs {' and '.join(MISSING)} (tools/need test)" if MISSING else "")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


class Machines(NamedTuple):
    """Both ends and the programs there."""

    client: Namespace
    server: Namespace
    app: Peer  # at the client
    outbound: Fastmesh
    inbound: Fastmesh


def url(family: str, port: int, host: str = "") -> str:
    address = host or SERVER[family]
    return f"http://[{address}]:{port}/page" if ":" in address else f"http://{address}:{port}/page"


def curl(space: Namespace, *words: str) -> str:
    return space.run("curl", "-sS", "--max-time", "10", *words)


@pytest.fixture(scope="module")
def cabled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, Namespace]]:
    """The two machines, and servers that know nothing of all this."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "page").write_text("from the server")
    certificate = trustme.CA().issue_cert("service.example")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    commands = (
        (sys.executable, "-m", "http.server", str(HTTP1), "--bind", "::"),
        ("nghttpd", "--no-tls", f"--htdocs={folder}", str(HTTP2)),
        ("nghttpd", f"--htdocs={folder}", str(TLS), str(folder / "key.pem"), str(folder / "chain.pem")),
        (sys.executable, "-c", HEARER),
    )
    with Namespace() as client, Namespace() as server:
        client.join(
            server, (f"{CLIENT['ipv4']}/24", f"{CLIENT['ipv6']}/64"),
            (f"{SERVER['ipv4']}/24", f"{ELSEWHERE}/24", f"{SERVER['ipv6']}/64"),
        )  # fmt: skip
        running = [
            subprocess.Popen(
                ["ip", "netns", "exec", server.name, *command], cwd=folder, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]  # fmt: skip
        peer = server.peer(APP)
        for host in ("0.0.0.0", "::"):
            peer.listen(host, SPOKEN)
            peer.listen(host, REDIS)
        try:
            for port in (HTTP1, HTTP2, TLS, HEARD):
                until(lambda port=port: f":{port}" in server.run("ss", "-Hltn"), f"the server of port {port}")  # type: ignore[misc]
            yield client, server
        finally:
            for process in running:
                process.kill()
                process.wait()


@pytest.fixture(
    scope="module", params=[("nft", "redirect"), ("iptables", "redirect"), ("nft", "tproxy")],
    ids=lambda param: "-".join(param),
)  # fmt: skip
def machines(
    cabled: tuple[Namespace, Namespace], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machines]:
    client, server = cabled
    folder = tmp_path_factory.mktemp("admin")
    shop = f"""
destination_protocols = "{ELSEWHERE}:{SPOKEN}=http"
[[backends]]
name = "shop"
endpoints = ["{SERVER["ipv4"]}:{HTTP1}"]
[[routes]]
name = "shop"
backend = "shop"
hosts = ["shop.example"]
[[backends]]
name = "hears"
endpoints = ["{SERVER["ipv4"]}:{HEARD}"]
send_proxy_protocol = "v1"
[[routes]]
name = "hears"
backend = "hears"
hosts = ["hears.example"]
"""
    backend, mode = request.param
    with transparent(client, folder, config=shop) as outbound, transparent(server, folder, mode) as inbound:
        redirect(client, "apply", "--backend", backend)
        redirect(server, "apply", "--backend", backend, "--inbound-mode", mode)
        yield Machines(client, server, client.peer(APP), outbound, inbound)
        for space in (client, server):
            redirect(space, "remove")


@pytest.mark.parametrize("family", FAMILIES)
def test_http1_passes_both_and_reaches_the_server(machines: Machines, family: str) -> None:
    outbound, inbound = Count(machines.outbound), Count(machines.inbound)
    answer = curl(machines.client, "-i", url(family, HTTP1))
    assert answer.startswith("HTTP/1.1 200")
    assert answer.endswith("from the server")
    assert outbound("fastmesh_requests_total") == 1
    assert inbound("fastmesh_requests_total", backend=ORIGINAL, listener="inbound") == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_http2_passes_both_and_stays_http2(machines: Machines, family: str) -> None:
    outbound, inbound = Count(machines.outbound), Count(machines.inbound)
    answer = curl(machines.client, "--http2-prior-knowledge", "-i", url(family, HTTP2))
    assert answer.startswith("HTTP/2 200")
    assert answer.endswith("from the server")
    assert outbound("fastmesh_http2_upstream_sessions_total") == inbound("fastmesh_http2_upstream_sessions_total") == 1
    assert outbound("fastmesh_requests_total", backend=ORIGINAL) == 1
    assert inbound("fastmesh_requests_total", backend=ORIGINAL) == 1


def test_a_proxy_protocol_header_names_where_the_client_was_going(machines: Machines) -> None:
    line = curl(machines.client, "-H", "Host: hears.example", url("", HTTP1, ELSEWHERE)).split(" ")
    assert line[:4] + line[5:] == ["PROXY", "TCP4", CLIENT["ipv4"], ELSEWHERE, str(HTTP1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_that_speaks_first_is_heard_through_both(machines: Machines, family: str) -> None:
    outbound, inbound = Count(machines.outbound), Count(machines.inbound)
    number, greeting = machines.app.dial(SERVER[family], SPOKEN)
    assert greeting["local"] == [SERVER[family], SPOKEN]
    assert machines.app.echo(number, "and the client later") == "and the client later"
    machines.app.ask("close", number)
    for count in (outbound, inbound):
        assert count("fastmesh_tcp_connections_total", route=ORIGINAL, backend=ORIGINAL) == 1
        assert count("fastmesh_detected_server_first_total") == 1


def test_tls_of_others_passes_as_it_is(machines: Machines) -> None:
    outbound, inbound = Count(machines.outbound), Count(machines.inbound)
    name = f"service.example:{TLS}"
    answer = curl(machines.client, "-ki", "--connect-to", f"{name}:{SERVER['ipv4']}:{TLS}", f"https://{name}/page")
    assert answer.startswith("HTTP/2 200")
    assert answer.endswith("from the server")
    for count in (outbound, inbound):
        assert count("fastmesh_tcp_connections_total", route=ORIGINAL, backend=ORIGINAL, sni="other") == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_what_goes_to_an_opaque_port_is_not_looked_at(machines: Machines, family: str) -> None:
    outbound, inbound = Count(machines.outbound), Count(machines.inbound)
    number, greeting = machines.app.dial(SERVER[family], REDIS)
    assert greeting["local"] == [SERVER[family], REDIS]
    assert machines.app.echo(number, "GET / HTTP/1.1") == "GET / HTTP/1.1"
    machines.app.ask("close", number)
    for count in (outbound, inbound):
        assert count("fastmesh_tcp_connections_total", backend=ORIGINAL) == 1
        assert count("fastmesh_early_dials_total") == count("fastmesh_detected_server_first_total") == 0


def test_what_a_destination_speaks_can_be_said(machines: Machines) -> None:
    answer = curl(machines.client, "-i", url("ipv4", SPOKEN, ELSEWHERE))
    assert answer.startswith("HTTP/1.1 502")  # what the server said first is no answer


@pytest.mark.parametrize(("family", "port"), [("ipv4", HTTP1), ("ipv4", SPOKEN), ("ipv6", HTTP1)])
def test_what_was_meant_for_an_endpoint_is_balanced_and_all_else_counted_apart(
    machines: Machines, family: str, port: int
) -> None:
    outbound = Count(machines.outbound)
    backend = "shop" if (family, port) == ("ipv4", HTTP1) else ORIGINAL
    if port == SPOKEN:
        machines.app.greeting(SERVER[family], port)
        assert outbound("fastmesh_tcp_connections_total") == 1
        assert outbound("fastmesh_tcp_connections_total", route=ORIGINAL, backend=backend) == 1
    else:
        curl(machines.client, url(family, port))
        assert outbound("fastmesh_requests_total") == 1
        assert outbound("fastmesh_requests_total", route=ORIGINAL, backend=backend) == 1


def test_a_host_that_is_routed_is_balanced_wherever_the_client_was_going(machines: Machines) -> None:
    outbound = Count(machines.outbound)
    answer = curl(machines.client, "-H", "Host: shop.example", url("ipv4", HTTP2, ELSEWHERE))
    assert answer == "from the server"
    assert outbound("fastmesh_requests_total", route="shop", backend="shop") == 1


def test_connections_to_an_original_destination_are_pooled(machines: Machines) -> None:
    outbound = Count(machines.outbound)
    where = url("ipv4", HTTP1, ELSEWHERE)
    for _ in range(3):
        assert curl(machines.client, where) == "from the server"
    assert outbound("fastmesh_requests_total", backend=ORIGINAL) == 3
    assert outbound("fastmesh_worker_reuses_total") >= 1


def test_a_server_that_is_not_there_is_told_as_it_is(machines: Machines) -> None:
    answer = curl(machines.client, "-i", url("ipv4", 8099))
    assert answer.startswith("HTTP/1.1 502")
    assert "connection refused" in answer or "reset" in answer or "upstream closed" in answer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_to_the_outbound_port_itself_is_refused(machines: Machines, host: str) -> None:
    outbound = Count(machines.outbound)
    with pytest.raises(OSError, match=r"reset|ended"):
        machines.app.dial(host, 4140)
    assert outbound("fastmesh_proxy_errors_total", cause="loop") == 1
    machines.outbound.wait_log(lambda line: "meant for fastmesh itself" in line)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_to_anothers_inbound_port_is_refused_there(machines: Machines, family: str) -> None:
    inbound = Count(machines.inbound)
    with pytest.raises(OSError, match=r"reset|ended"):
        machines.app.dial(SERVER[family], 4143)
    assert inbound("fastmesh_proxy_errors_total", cause="loop") >= 1


def test_what_fastmesh_itself_opens_goes_round_once(tmp_path: pathlib.Path) -> None:
    with Namespace() as client, Namespace() as server:
        client.join(server, (f"{CLIENT['ipv4']}/24",), (f"{SERVER['ipv4']}/24",))
        with transparent(client, tmp_path) as outbound:
            redirect(client, "apply", user="9999")  # not whom fastmesh runs as
            count = Count(outbound)
            # It hears 502 where it had asked before the connection came back and was reset, else it is reset itself.
            words = ("-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{exitcode} %{http_code}")
            answer = client.run("curl", *words, url("ipv4", HTTP1), check=False)
            assert answer in ("0 502", "7 000", "52 000", "56 000")
            assert count("fastmesh_proxy_errors_total", cause="loop") == count("fastmesh_worker_connects_total") >= 1
            assert count("fastmesh_connections_accepted_total") <= 3
