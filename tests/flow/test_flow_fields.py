"""Fields that a proxy adds, counts or removes, by setting."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import Request
from tests.support.origin import Origin, serve

SENT = ("X-Forwarded-For: 10.9.8.7", "X-Forwarded-Proto: https", "Forwarded: for=10.9.8.7;proto=https")


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin(serve()) as origin:
        yield origin


def seen_by(origin: Origin, *fields: str, **settings: Any) -> Request:
    """What reaches the origin of a request with these fields, through a proxy with these settings."""
    with Fastmesh(upstream=origin.address, **settings) as proxy, Client(proxy.address) as client:
        assert client.get("/", *fields).status == 200
    return origin.requests()[-1]


@pytest.mark.parametrize("mode", ["none", "x-forwarded", "forwarded", "both"])
def test_forwarded_fields_of_a_plain_client(origin: Origin, mode: str) -> None:
    request = seen_by(origin, forwarded=mode)
    x_forwarded, forwarded = mode in ("x-forwarded", "both"), mode in ("forwarded", "both")
    assert request.all("x-forwarded-for") == ([b"127.0.0.1"] if x_forwarded else [])
    assert request.all("x-forwarded-proto") == ([b"http"] if x_forwarded else [])
    elements = [value.replace(b" ", b"").lower() for value in request.all("forwarded")]
    if forwarded:
        assert len(elements) == 1
        assert {b"for=127.0.0.1", b"proto=http"} <= set(elements[0].split(b";"))  # RFC 7239 4
    else:
        assert not elements


def test_forwarded_fields_are_appended(origin: Origin) -> None:
    request = seen_by(origin, *SENT, forwarded="both")
    assert request.tokens("x-forwarded-for") == ["10.9.8.7", "127.0.0.1"]
    elements = b",".join(request.all("forwarded")).lower().split(b",")
    assert elements[0].strip() == b"for=10.9.8.7;proto=https"
    assert b"for=127.0.0.1" in elements[1]


def test_forwarded_fields_are_replaced(origin: Origin) -> None:
    request = seen_by(origin, *SENT, forwarded="both", forwarded_replace="on")
    assert request.all("x-forwarded-for") == [b"127.0.0.1"]
    assert request.all("x-forwarded-proto") == [b"http"]
    assert b"10.9.8.7" not in request.head


def test_forwarded_of_an_ipv6_client(origin: Origin) -> None:
    with (
        Fastmesh(listen="[::1]:0", upstream=origin.address, forwarded="both") as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/")
    request = origin.requests()[-1]
    assert request.all("x-forwarded-for") == [b"::1"]
    assert b'for="[::1]"' in request.all("forwarded")[0]  # RFC 7239 6: quoted, in brackets


def test_forwarded_of_a_unix_client(origin: Origin, tmp_path: pathlib.Path) -> None:
    """There is no address to tell, but what the client claims must not survive when it is to be replaced."""
    request = seen_by(origin, *SENT, listen=f"unix:{tmp_path}/front", forwarded="both", forwarded_replace="on")
    assert b"10.9.8.7" not in request.head
    assert b"https" not in b",".join(request.all("x-forwarded-proto"))


@pytest.mark.parametrize(("name", "wanted"), [("edge-7", [b"1.1 edge-7"]), ("off", []), ("", [])])
def test_via_of_requests(origin: Origin, name: str, wanted: list[bytes]) -> None:
    assert seen_by(origin, via=name).all("via") == wanted


def test_via_of_responses() -> None:
    answer = b"HTTP/1.1 200 OK\r\nVia: 1.0 inner\r\nContent-Length: 0\r\n\r\n"
    with Origin(serve(answer)) as origin:
        with Fastmesh(upstream=origin.address, via_response="on") as proxy, Client(proxy.address) as client:
            response = client.get("/")
            assert response.tokens("via") == ["1.0 inner", "1.1 fastmesh"]
        with Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
            assert client.get("/").all("via") == [b"1.0 inner"]


def test_date_is_added_when_missing_and_kept_when_there() -> None:
    old = b"Tue, 15 Nov 1994 08:12:31 GMT"
    answers = {
        "/with": b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 0\r\n\r\n" % old,
        "/without": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    }
    with (
        Origin(serve(lambda request: answers[request.target])) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        assert client.get("/with").all("date") == [old]
        added = client.get("/without").get("date")
        assert added is not None
        assert len(added) == 29
        assert added.endswith(b"GMT")


def test_max_forwards_zero_is_answered_here(origin: Origin) -> None:
    before = len(origin.requests())
    with Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        for method in ("OPTIONS", "TRACE"):
            answer = client.ask(request(method, "/x", "Max-Forwards: 0", "Cookie: secret"), method)
            assert answer.status == 200
            assert b"secret" not in answer.body  # RFC 9110 9.3.8: nothing that may be a secret is reflected
        assert b"TRACE /x HTTP/1.1\r\nHost: t.test\r\n" in answer.body
        assert answer.get("content-type") == b"message/http"
    assert len(origin.requests()) == before


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_http10_without_host_gets_one(tmp_path: pathlib.Path, family: str) -> None:
    """HTTP/1.1 requests need a Host (RFC 9112 3.2): the endpoint's address stands in for a missing one."""
    back = "127.0.0.1:0" if family == "tcp" else f"unix:{tmp_path}/back"
    with (
        Origin(serve(), back) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        assert client.ask(b"GET /x HTTP/1.0\r\n\r\n").status == 200
        wanted = origin.address if family == "tcp" else "localhost"
        assert origin.requests()[0].all("host") == [wanted.encode()]


def test_large_heads_pass_both_ways() -> None:
    """A 60 KB head in and out: more than one small buffer holds."""
    fields = [f"X-{i}: " + "v" * 1000 for i in range(58)]
    answer = ("HTTP/1.1 200 OK\r\n" + "\r\n".join(fields) + "\r\nContent-Length: 3\r\n\r\nabc").encode()
    with (
        Origin(serve(answer)) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        for _ in range(3):
            response = client.get("/", *fields)
            assert bytes(response.body) == b"abc"
            assert [response.get(f"x-{i}") for i in range(58)] == [b"v" * 1000] * 58
        got = origin.requests()[-1]
        assert [got.get(f"x-{i}") for i in range(58)] == [b"v" * 1000] * 58
