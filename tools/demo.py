"""`make run`: a small upstream inside this process, and fastmesh before it.

Settings come from the environment as always (`fastmesh env`); what is not set there gets a loopback address here.
Ctrl-C or SIGTERM drains fastmesh and ends both.
"""

import asyncio
import os
import signal
import socket
import sys
from typing import cast

import httptools
import uvloop

LISTEN = "127.0.0.1:4143"
ADMIN = "127.0.0.1:4191"


class Echo(asyncio.Protocol):
    """Answers every request with its own method, target, fields and body, as text."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.target = b""
        self.lines: list[bytes] = []
        self.body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append(name + b": " + value)

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        method = self.parser.get_method()
        said = b"\n".join([method + b" " + self.target, *self.lines, b"", *self.body]) + b"\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(said)
        self.transport.write(head if method == b"HEAD" else head + said)
        if not self.parser.should_keep_alive():
            self.transport.close()


async def accepting(address: str, proxy: asyncio.subprocess.Process) -> None:
    """Returns when something accepts connections there, or the proxy has ended."""
    host, _, port = address.rpartition(":")
    while proxy.returncode is None:
        try:
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def free(address: str) -> str:
    """The address, or one with a free port when somebody else has its port."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


async def demo() -> int:
    """Runs until fastmesh ends; returns its exit code."""
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(Echo, "127.0.0.1", 0)
    host, port = upstream.sockets[0].getsockname()
    environment = {"FASTMESH_LISTEN": free(LISTEN), "FASTMESH_ADMIN": free(ADMIN), **os.environ}
    if "FASTMESH_CONFIG" not in os.environ:
        environment.setdefault("FASTMESH_UPSTREAM", f"{host}:{port}")
    proxy = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fastmesh", "run", env=environment, start_new_session=True
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, proxy.send_signal, number)
    listen = environment["FASTMESH_LISTEN"].split(",")[0]
    if not listen.startswith("unix:"):
        await accepting(listen, proxy)
    if proxy.returncode is not None:
        return proxy.returncode
    print(
        f"an upstream that says back what it was sent is at http://{host}:{port}\n"
        f"try:  curl -i http://{listen}/hello\n"
        f"      curl http://{environment['FASTMESH_ADMIN']}/metrics\n"
        f"      curl http://{environment['FASTMESH_ADMIN']}/ready\n"
        f"end with Ctrl-C",
        flush=True,
    )
    code = await proxy.wait()
    upstream.close()
    return code


if __name__ == "__main__":
    sys.exit(uvloop.run(demo()))
