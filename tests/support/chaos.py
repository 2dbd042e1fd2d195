"""Clients and upstreams that do everything at random, each from a seed of its own, and a workload whose every answer
can be checked."""

import contextlib
import hashlib
import random
import threading
from collections.abc import Callable

from tests.support import net
from tests.support.client import Client, Ended, request
from tests.support.http1 import Malformed, Message, Request, chunked
from tests.support.origin import OK, Connection, Gone, Script
from tests.support.pressure import SWITCHED, WEBSOCKET
from tests.support.wait import DEADLINE_S

Move = Callable[[Connection, random.Random], None]
GONE = (OSError, Ended, Malformed)


def run_all(bodies: list[Callable[[], None]]) -> None:
    """Every body in a thread; returns when all have ended, and raises what the first of them raised."""
    errors: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # raised again in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
    if errors:
        raise errors[0]


def cut_reset(c: Connection, r: random.Random) -> None:
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    c.reset()
    raise Gone("RST")


def cut(c: Connection, r: random.Random) -> None:
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    raise Gone("FIN")


def to_the_end(c: Connection, r: random.Random) -> None:
    c.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * r.randrange(300_000))
    raise Gone("FIN")


def tunnel(c: Connection, r: random.Random) -> None:
    c.send(SWITCHED + b"q" * r.randrange(200_000))
    if r.random() < 0.5:
        c.reset()
    raise Gone("RST")


def leave(c: Connection, r: random.Random) -> None:
    if r.random() < 0.5:
        c.reset()
    raise Gone("RST")


def say(data: bytes) -> Move:
    return lambda c, r: c.send(data)


MOVES: list[Move] = [
    cut_reset, cut, to_the_end, tunnel, leave, say(b"garbage\r\n\r\n"), say(OK + OK),
    say(b"HTTP/1.1 413 x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"),
    say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", trailers=b"X: y\r\n")),
    say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"),
    say(b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
    say(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"y" * 500_000),
    say(b"HTTP/1.1 100 Continue\r\n\r\n" * 40 + OK), say(b"HTTP/1.1 200 O"), *[say(OK)] * 8,
]  # fmt: skip


def wild_origin(seed: int) -> Script:
    """Answers each head by a random move; what it reads need not be HTTP, so it is not parsed."""

    def script(connection: Connection) -> None:
        choice = random.Random(seed * 1000 + connection.index)
        connection.sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            if choice.random() < 0.05:
                connection.send(OK)
            while choice.random() > 0.02:
                connection.received.clear()
                while b"\r\n\r\n" not in connection.received:
                    connection.read()
                choice.choice(MOVES)(connection, choice)

    return script


ASKS = [
    request("POST", "/", "Content-Length: 100000") + b"p" * 50,
    request("POST", "/", body=b"p" * 100_000),
    request("POST", "/", "Transfer-Encoding: chunked") + chunked(b"hello", trailers=b"X: y\r\nHost: b\r\n"),
    request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhelloBAD",
    request("GET", "/x", *WEBSOCKET) + b"w" * 50_000,
    request("CONNECT", "t.test:80", host="t.test:80") + b"foo",
    request("OPTIONS", "*", "Max-Forwards: 0") * 50,
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    request("HEAD", "/") * 3,
    b"GET / HT",
    request("GET", "/", "A: " + "h" * 20_000),
    request("POST", "/", "Expect: 100-continue", body=b"abc"),
    request("TRACE", "/", "Max-Forwards: 0"),
    request("GET", "/", host="nowhere") * 9,
    *[request("GET", "/")] * 5,
    request("GET", "/") * 30,
]


def wild_client(address: str, seed: int, rounds: int) -> None:
    """Sends, reads and leaves at random."""
    choice = random.Random(seed)
    for _ in range(rounds):
        with contextlib.suppress(OSError), contextlib.closing(net.dial(address, timeout=0.1)) as sock:
            for _ in range(choice.randrange(1, 5)):
                ask = choice.choice(ASKS)
                half = len(ask) // 2 if choice.random() < 0.1 else 0
                sock.sendall(ask[:half])
                sock.sendall(ask[half:])
                if choice.random() < 0.1:
                    sock.shutdown(1)
                if choice.random() < 0.1:
                    net.reset(sock)
                    break
                if choice.random() < 0.6:
                    with contextlib.suppress(TimeoutError):
                        sock.recv(choice.choice([10, 100_000]))


def split(message: Message, body: bytes, choice: random.Random) -> bytes:
    """The body as chunks of random sizes, with extensions and trailers now and then."""
    pieces = []
    while body:
        n = choice.randrange(1, 60_000)
        pieces.append(body[:n])
        body = body[n:]
    return chunked(*pieces, trailers=choice.choice([b"", b"X-T: 1\r\n"]))


def send_in_pieces(send: Callable[[bytes], None], data: bytes, choice: random.Random) -> None:
    while data:
        n = choice.choice([1, 7, 100, 5000, 100_000, 1_000_000])
        send(data[:n])
        data = data[n:]


def proof(asked: Request, extra: int) -> bytes:
    """A body that says which request it answers and what arrived with it."""
    return f"{asked.target}|{hashlib.sha256(asked.body).hexdigest()}|".encode() + b"#" * extra


def honest_origin(seed: int) -> Script:
    """Answers every request with its proof, in a random framing, and sometimes ends the connection between two."""

    def script(connection: Connection) -> None:
        choice = random.Random(seed * 99 + connection.index)
        while choice.random() > 0.02:
            asked = connection.request()
            body = proof(asked, choice.choice([0, 0, 10, 5000, 70_000]))
            close = choice.random() < 0.04
            head = b"HTTP/1.1 200 OK\r\nX-Id: " + asked.target.encode() + b"\r\n"
            head += b"Connection: close\r\n" if close else b""
            interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * (choice.randrange(40) * (choice.random() < 0.1))
            framing = choice.choice(["length", "chunked", "none"] * 8 + ["end"])
            if framing == "chunked":
                out = head + b"Transfer-Encoding: chunked\r\n\r\n"
                out += b"" if asked.method == "HEAD" else split(asked, body, choice)
            elif framing == "none":
                out = head.replace(b"200 OK", b"204 No Content") + b"\r\n"
            elif framing == "end" and asked.method != "HEAD":
                out, close = head + b"\r\n" + body, True
            else:
                out = head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if asked.method == "HEAD" else body)
            send_in_pieces(connection.send, interim + out, choice)
            if close:
                return

    return script


def honest_client(address: str, seed: int, rounds: int, done: list[int]) -> None:
    """Pipelines requests in random framings and splits; every answer must be its own, or an honest 502.
    `done` gets how many were answered in each round."""
    choice = random.Random(seed)
    for round_number in range(rounds):
        asks: list[Request] = []
        sent = b""
        for i in range(choice.randrange(1, 12)):
            method = choice.choice(["GET", "GET", "HEAD", "POST", "POST"])
            body = b"" if method != "POST" else bytes([choice.randrange(256)]) * choice.choice(
                [0, 5, 3000, 4096, 4097, 40_000, 300_000])
            target = f"/{seed}-{round_number}-{i}"
            ask = Request(f"{method} {target} HTTP/1.1".encode(), [], body=bytearray(body))
            if method != "POST":
                sent += request(method, target)
            elif choice.random() < 0.5:
                sent += request("POST", target, body=body)
            else:
                sent += request("POST", target, "Transfer-Encoding: chunked") + split(ask, body, choice)
            asks.append(ask)
        with Client(address) as client:
            done.append(check_answers(client, sent, asks, random.Random(seed + round_number)))


def check_answers(client: Client, sent: bytes, asks: list[Request], choice: random.Random) -> int:
    """How many were answered before the connection ended."""

    def upload() -> None:
        with contextlib.suppress(OSError):
            send_in_pieces(client.send, sent, choice)

    sender = threading.Thread(target=upload, daemon=True)
    sender.start()
    answered = 0
    for ask in asks:
        try:
            answer = client.read(ask.method)
        except Ended:
            break
        answered += 1
        assert answer.status in (200, 204, 502), f"{ask.start!r} got {answer.head!r}"
        if answer.status != 502:
            assert answer.get("x-id") == ask.target.encode(), f"{ask.start!r} got the answer {answer.head!r}"
        if answer.status == 200 and ask.method != "HEAD":
            assert answer.body.startswith(proof(ask, 0)), f"{ask.start!r}: its body or the answer's was changed"
        if answer.closes:
            break
    with contextlib.suppress(OSError):
        client.sock.shutdown(2)
    sender.join(DEADLINE_S)
    return answered
