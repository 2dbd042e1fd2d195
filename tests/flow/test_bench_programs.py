"""The benchmark's C programs do what they are believed to do."""

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.macro.processes import free_port
from tests.support.net import dial, listen, text
from tests.support.wait import DEADLINE_S, until

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-fsanitize=address,undefined"]
ALONE = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {"ASAN_OPTIONS": ""}
BODY = b"x" * 5000


def built(name: str, directory: Path) -> str:
    program = directory / Path(name).stem
    subprocess.run(
        ["gcc", *FLAGS, "-o", program, ROOT / "bench" / name, "-lm"], check=True, timeout=DEADLINE_S, env=ALONE
    )
    return str(program)


def serve(server: socket.socket, answer: bytes) -> None:
    """Answers every request head on every connection; ends with the listening socket."""

    def one(connection: socket.socket) -> None:
        with connection:
            received = b""
            while data := connection.recv(65536):
                received += data
                for _ in range(received.count(b"\r\n\r\n")):
                    connection.sendall(answer)
                received = received.rpartition(b"\r\n\r\n")[2]

    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(connection,), daemon=True).start()


@pytest.fixture
def client(tmp_path: Path) -> str:
    return built("load/client.c", tmp_path)


@pytest.fixture
def forwarder(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """An upstream's listening socket and the forwarder's address."""
    with listen() as upstream:
        port = free_port()
        command = [built("floor/forwarder.c", tmp_path), f"127.0.0.1:{port}", text(upstream)]
        process = subprocess.Popen(command, env=ALONE)
        try:
            until(lambda: accepts(port), "the forwarder to listen")
            upstream.accept()[0].close()  # of the try above
            yield upstream, f"127.0.0.1:{port}"
        finally:
            process.terminate()
            assert process.wait(DEADLINE_S) == -15


def accepts(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def run(client: str, server: socket.socket, answer: bytes, *arguments: str) -> dict[str, object]:
    threading.Thread(target=serve, args=(server, answer), daemon=True).start()
    command = [client, arguments[0], str(server.getsockname()[1]), "/", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=ALONE)
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def answer_of(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(BODY)) + BODY


def test_client_sends_exactly_so_many(client: str) -> None:
    with listen() as server:
        result = run(client, server, answer_of(200), "count", "4", "101")
        server.shutdown(socket.SHUT_RDWR)
    assert (result["answered"], result["failed"], result["lost"]) == (101, 0, 0)


def test_client_keeps_its_schedule(client: str) -> None:
    with listen() as server:
        result = run(client, server, answer_of(200), "rate", "2", "50", "200", "0.2", "0.5", "5000")
        server.shutdown(socket.SHUT_RDWR)
    assert (result["answered"], result["recorded"], result["failed"], result["lost"]) == (140, 100, 0, 0)


def test_client_counts_what_is_no_200_as_failed(client: str) -> None:
    with listen() as server:
        result = run(client, server, answer_of(503), "rate", "1", "50", "100", "0", "0.1")
        server.shutdown(socket.SHUT_RDWR)
    assert (result["answered"], result["failed"]) == (0, 10)


@pytest.fixture
def tcp(tmp_path: Path) -> str:
    return built("load/tcp.c", tmp_path)


@contextlib.contextmanager
def tcp_server(tcp: str, *options: str) -> Iterator[str]:
    """Its port."""
    port = free_port()
    process = subprocess.Popen([tcp, "serve", str(port), *options], env=ALONE)
    try:
        until(lambda: accepts(port), "the server to listen")
        yield str(port)
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == -15


@pytest.mark.parametrize("mode", ["rpc", "connect", "down", "up"])
def test_exchanges_are_whole(tcp: str, mode: str) -> None:
    with tcp_server(tcp) as port:
        done = subprocess.run([tcp, mode, port, "3", "0.05"], capture_output=True, timeout=30, env=ALONE, check=True)
    result = json.loads(done.stdout)
    assert result["exchanges"] >= 3
    assert result["failed"] == 0
    assert result["bytes"] == (result["exchanges"] << 26 if mode in ("down", "up") else 0)
    assert 0 < result["p50_us"] <= result["p99_us"]


def test_greetings_are_counted(tcp: str) -> None:
    with tcp_server(tcp, "greeting") as port:
        done = subprocess.run([tcp, "first", port, "20"], capture_output=True, timeout=30, env=ALONE, check=True)
    assert (json.loads(done.stdout)["exchanges"], json.loads(done.stdout)["failed"]) == (20, 0)


@pytest.mark.parametrize("mode", ["rpc", "connect", "down", "up"])
def test_an_exchange_that_breaks_has_failed(tcp: str, mode: str) -> None:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"x" * 99)

    with listen() as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        command = [tcp, mode, str(server.getsockname()[1]), "1", "0.01"]
        done = subprocess.run(command, capture_output=True, timeout=30, env=ALONE, check=True)
        thread.join(DEADLINE_S)
    assert (json.loads(done.stdout)["exchanges"], json.loads(done.stdout)["failed"]) == (0, 1)


def test_forwarder_moves_every_byte_and_each_end_of_stream(forwarder: tuple[socket.socket, str]) -> None:
    upstream, address = forwarder
    sent = os.urandom(3_000_000)
    with dial(address) as downstream:
        accepted, _ = upstream.accept()
        with accepted:
            accepted.settimeout(DEADLINE_S)

            def upload() -> None:
                downstream.sendall(sent)
                downstream.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=upload, daemon=True)
            thread.start()
            received = b"".join(iter(lambda: accepted.recv(65536), b""))
            thread.join(DEADLINE_S)
            assert received == sent
            accepted.sendall(sent[::-1])
            accepted.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: downstream.recv(65536), b"")) == sent[::-1]


def test_forwarder_closes_the_other_side_on_a_reset(forwarder: tuple[socket.socket, str]) -> None:
    upstream, address = forwarder
    with dial(address) as downstream:
        accepted, _ = upstream.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
        try:
            assert downstream.recv(1) == b""
        except ConnectionResetError:
            pass
