"""The PROXY protocol with those who speak it: nginx, HAProxy and curl, over loopback."""

import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.origin import Connection, Origin, serve
from tests.support.proxy_protocol import Path
from tests.support.server import Nginx, plain_environment
from tests.support.wait import DEADLINE_S, until

SITE = """
server {
    listen LISTEN proxy_protocol;
    location / { return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\\n"; }
}
"""
HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend speaks
    bind {speaks}
    default_backend fastmesh
backend fastmesh
    server one {fastmesh} {word}
frontend hears
    mode http
    bind {hears} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst_port]"
"""
FAR = Path("203.0.113.7", 4711, "198.51.100.9", 443)


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with Nginx(SITE) as nginx:
        yield nginx


class Haproxy:
    """Speaks the PROXY protocol to `fastmesh` and hears it on an address of its own. Ended by its pid."""

    def __init__(self, directory: pathlib.Path, fastmesh: str = "127.0.0.1:1", word: str = "send-proxy") -> None:
        self.speaks, self.hears = (f"127.0.0.1:{net.free_port()}" for _ in range(2))
        conf = directory / "haproxy.cfg"
        conf.write_text(HAPROXY.format(speaks=self.speaks, hears=self.hears, fastmesh=fastmesh, word=word))
        self.process = subprocess.Popen(
            ["/usr/sbin/haproxy", "-db", "-q", "-f", str(conf)], env=plain_environment(), stdin=subprocess.DEVNULL
        )
        until(lambda: answers(self.hears), "HAProxy to listen")

    def __enter__(self) -> "Haproxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE_S)


def answers(address: str) -> bool:
    try:
        net.dial(address).close()
    except ConnectionRefusedError:
        return False
    return True


def ends_of(client: Client) -> bytes:
    """The client's address and port, and the port it came to."""
    (host, port), (_, came_to) = client.sock.getsockname(), client.sock.getpeername()
    return f"{host} {port} {came_to}".encode()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("protocol", ["http", "detect", "opaque"])
def test_nginx_and_haproxy_hear_whose_connection_it_is(
    nginx: Nginx, tmp_path: pathlib.Path, version: str, protocol: str
) -> None:
    with Haproxy(tmp_path) as haproxy:
        for upstream in (nginx.address, haproxy.hears):
            with (
                Fastmesh(upstream=upstream, send_proxy_protocol=version, listener_protocol=protocol) as proxy,
                Client(proxy.address) as client,
            ):
                assert client.get().body.strip() == ends_of(client)
                assert client.get().body.strip() == ends_of(client)


@pytest.mark.parametrize("word", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"])
@pytest.mark.parametrize("protocol", ["http", "detect"])
def test_haproxy_tells_whose_connection_it_is(nginx: Nginx, tmp_path: pathlib.Path, word: str, protocol: str) -> None:
    settings = {"proxy_protocol": "on", "send_proxy_protocol": "v2", "listener_protocol": protocol}
    with (
        Fastmesh(upstream=nginx.address, access_log="{client_addr} {client_port}", **settings) as proxy,
        Haproxy(tmp_path, proxy.address, word) as haproxy,
        Client(haproxy.speaks) as client,
    ):
        assert client.get().body.strip() == ends_of(client)
        line = "{} {}\n".format(*client.sock.getsockname())
        until(lambda: proxy.stdout.read_text() == line, "the line of the access log")


def test_curl_tells_who_it_is() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, proxy_protocol="on", forwarded="both") as proxy:
        def curl(*options: str) -> "subprocess.CompletedProcess[bytes]":
            command = ["curl", "-sS", "--fail", "--max-time", "20", *options, f"http://{proxy.address}/"]
            return subprocess.run(command, capture_output=True, timeout=30, check=False, env=plain_environment())

        done = curl("--haproxy-protocol")
        assert done.returncode == 0, done.stderr.decode()
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in origin.connection().received
        assert curl().returncode != 0
        assert proxy.metrics().sum("fastmesh_proxy_headers_total") == 1
        assert proxy.metrics().sum("fastmesh_proxy_errors_total", cause="bad_proxy_header") == 1


def test_the_announced_client_is_in_the_access_log_of_relayed_connections() -> None:
    def script(connection: Connection) -> None:
        connection.send(b"hello")
        connection.wait_end()

    settings = {
        "proxy_protocol": "on",
        "listener_protocol": "opaque",
        "access_log": "{client_addr} {client_port} {version}",
    }
    with Origin(script) as origin, Fastmesh(upstream=origin.address, **settings) as proxy:
        with Client(proxy.address) as client:
            client.send(FAR.v2())
            assert client.read_until(b"hello") == b"hello"
        until(lambda: proxy.stdout.read_text() == "203.0.113.7 4711 TCP\n", "the line of the access log")


def test_listeners_and_backends_have_their_own(nginx: Nginx) -> None:
    config = f"""
    [[listeners]]
    name = "plain"
    address = "127.0.0.1:0"
    [[listeners]]
    name = "behind"
    address = "127.0.0.1:0"
    proxy_protocol = true
    [[backends]]
    name = "hears"
    endpoints = ["{nginx.address}"]
    send_proxy_protocol = "v1"
    """
    with Fastmesh(config=config, listen=None) as proxy:
        with Client(proxy.addresses[0]) as client:
            assert client.get().body.strip() == ends_of(client)
        with Client(proxy.addresses[1]) as client:
            assert client.ask(FAR.v1() + request("GET", "/")).body.strip() == b"203.0.113.7 4711 443"
