"""node's clients and servers of HTTP/1 and HTTP/2 in every combination, through fastmesh."""

import dataclasses
import itertools
import os
from collections.abc import Iterator

import pytest

from tests.support.client import digest, pattern
from tests.support.peer import NodeClient, Server, before, node_server

VERSIONS = ("http1", "http2")
WAYS = [f"{client}-{server}" for client in VERSIONS for server in VERSIONS]
if os.environ.get("PEERS_DIRECT") == "1":
    WAYS = [f"{version}-{version}" for version in VERSIONS]
SIZES = (0, 1, 65_535, 65_536, 10_000_000)
_paths = itertools.count()


@dataclasses.dataclass
class Way:
    client: NodeClient
    server: Server
    upstream: str  # the version of the server


@pytest.fixture(scope="module", params=WAYS)
def peers(request: pytest.FixtureRequest) -> Iterator[Way]:
    client, _, server = request.param.partition("-")
    with (
        node_server(server) as upstream,
        before(upstream.address, server) as address,
        NodeClient(client, address) as asker,
    ):
        yield Way(asker, upstream, server)


@pytest.fixture
def way(peers: Way) -> Iterator[Way]:
    """Each test ends the client's connections, so that the proxy comes to rest."""
    yield peers
    peers.client.call("close")


def own(name: str) -> str:
    """A path that no other test uses, so that what happens to it is this test's."""
    return f"/{name}/{next(_paths)}"


def test_method_target_and_authority(way: Way) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
        got = way.client.ask("/fields?a=b%20c&d", method, fields=[("x-one", "1")]).json()
        assert (got["method"], got["target"]) == (method, "/fields?a=b%20c&d")
        assert got["version"] == {"http1": "1.1", "http2": "2.0"}[way.upstream]
        authority = [value for name, value in got["fields"] if name in ("host", ":authority")]
        assert authority == [way.client.address]
        assert ["x-one", "1"] in got["fields"]


@pytest.mark.parametrize("known", [True, False], ids=["length", "unknown"])
def test_request_body(way: Way, known: bool) -> None:
    for size in SIZES:
        got = way.client.ask("/sum", "POST", size=size, known=known).json()
        assert (got["size"], got["sha256"]) == (size, digest(pattern(size)))


@pytest.mark.parametrize("how", ["length", "unknown"])
def test_response_body(way: Way, how: str) -> None:
    for size in SIZES:
        answer = way.client.ask(f"/bytes?n={size}&as={how}")
        answer.assert_pattern(size)
        if size:  # node says the length of nothing by itself
            assert answer.get("content-length") == (str(size) if how == "length" else None)


def test_both_ways_at_once(way: Way) -> None:
    way.client.ask("/echo", "POST", size=3_000_000, known=False).assert_pattern(3_000_000)


def test_piece_by_piece(way: Way) -> None:
    """Each piece is sent when the one before has come back: nothing waits for more."""
    answer = way.client.ask("/pieces", "POST", op="duplex", count=20)
    assert (answer.error, answer.text) == (None, "".join(f"{i:05d}" for i in range(20)))


def test_trailers_both_ways(way: Way) -> None:
    fields = [("te", "trailers")] + ([("connection", "TE")] if way.client.version == "http1" else [])
    for size in (0, 5, 300_000):
        answer = way.client.ask("/echo", "POST", size=size, known=False, trailers={"sum": "17"}, fields=fields)
        answer.assert_pattern(size)
        assert dict(answer.trailers) == {"got-sum": "17", "length": str(size)}


def test_early_hints(way: Way) -> None:
    answer = way.client.ask("/early")
    assert [status for status, _ in answer.interim] == [103]
    hints = dict(map(tuple, answer.interim[0][1]))
    assert (hints["link"], hints["x-hint"]) == ("</style.css>; rel=preload", "yes")
    assert (answer.status, answer.text) == (200, "late")


def test_the_body_that_waits_for_100(way: Way) -> None:
    """The client sends nothing of its body before the server has said so."""
    answer = way.client.ask("/sum", "POST", size=100_000, fields=[("expect", "100-continue")])
    assert 100 in [status for status, _ in answer.interim]
    assert answer.json()["size"] == 100_000


def test_messages_without_body(way: Way) -> None:
    head = way.client.ask("/bytes?n=1234&as=length", "HEAD")
    assert (head.status, head.get("content-length"), head.size, head.error) == (200, "1234", 0, None)
    for code in (204, 304):
        answer = way.client.ask(f"/status?code={code}")
        assert (answer.status, answer.size, answer.error) == (code, 0, None)
        assert way.client.ask(f"/status?code={code}", "POST", size=3).status == code
    way.client.ask("/bytes?n=5&as=length").assert_pattern(5)  # nothing was left between


def test_status(way: Way) -> None:
    for code in (200, 201, 206, 301, 400, 401, 404, 409, 418, 429, 500, 502, 503, 599):
        assert way.client.ask(f"/status?code={code}").status == code


def test_large_and_repeated_fields(way: Way) -> None:
    cookies = [f"c{i}={'v' * 20}" for i in range(40)]
    got = way.client.ask("/fields", fields=[("x-large", "r" * 30_000), *(("cookie", one) for one in cookies)]).json()
    assert ["x-large", "r" * 30_000] in got["fields"]
    # RFC 9113 8.2.3: pieces of a cookie are joined for HTTP/1; to HTTP/2 they may stay apart.
    joined = [value for name, value in got["fields"] if name == "cookie"]
    assert "; ".join(joined) == "; ".join(cookies)
    if way.upstream == "http1" and way.client.version == "http2":
        assert len(joined) == 1
    answer = way.client.ask("/answer?large=30000")
    assert answer.get("x-large") == "v" * 30_000
    assert answer.values("set-cookie") == ["a=1; Path=/", "b=2"]
    assert ", ".join(answer.values("x-twice")) == "one, two"


def test_fields_of_one_connection_stay_there(way: Way) -> None:
    """RFC 9113 8.2.2, RFC 9110 7.6.1."""
    fields = [("te", "trailers")]
    if way.client.version == "http1":
        fields = [("connection", "keep-alive, x-hop"), ("keep-alive", "timeout=5"), ("x-hop", "mine"),
                  ("proxy-connection", "keep-alive")]  # fmt: skip
    got = way.client.ask("/fields", fields=fields).json()
    gone = {"keep-alive", "x-hop", "proxy-connection", "upgrade", "http2-settings"}
    assert gone.isdisjoint(name for name, _ in got["fields"])
    answer = way.client.ask("/hop")
    assert answer.text == "ok"
    assert answer.get("x-hop") is None


def test_many_at_once(way: Way) -> None:
    """Little enough to find room at once: node 20's server resets a stream (NO_ERROR and no END_STREAM)
    whose last bytes had to wait while others are open, and only node's own client takes that for an end."""
    sizes = [13 * i for i in range(100)]
    answers = way.client.ask_all(*(f"/bytes?n={size}&as={'length' if size % 2 else 'unknown'}" for size in sizes))
    for answer, size in zip(answers, sizes, strict=True):
        answer.assert_pattern(size)


def test_a_slow_answer_holds_up_no_other(way: Way) -> None:
    key = way.client.open(own("silent"))
    assert way.server.call("happened", what="begun", path=key)
    way.client.ask("/bytes?n=1000000&as=length").assert_pattern(1_000_000)
    assert way.client.ask("/slow?ms=20").text == "slow"
    way.client.abandon(key)


def test_an_answer_that_the_server_cuts_is_not_whole(way: Way) -> None:
    answer = way.client.ask("/cut?n=100000")
    assert answer.status == 200
    assert answer.error
    way.client.ask("/bytes?n=5&as=length").assert_pattern(5)


def test_a_request_that_the_server_drops(way: Way) -> None:
    """Without a head there is something to say: the answer is the proxy's, whatever the other side's way to drop it."""
    answer = way.client.ask("/dead", "POST", size=3)
    if os.environ.get("PEERS_DIRECT") == "1":
        assert answer.error
    else:
        assert answer.status == 502
        assert answer.get("fastmesh-error")


def test_the_server_learns_that_the_client_gave_up(way: Way) -> None:
    path = own("silent")
    way.client.open(path)
    assert way.server.call("happened", what="begun", path=path)
    assert way.client.abandon(path).error
    assert way.server.call("happened", what="abandoned", path=path)


def test_the_server_learns_that_the_client_gave_up_within_the_answer(way: Way) -> None:
    path = own("hang")
    assert way.client.ask(path, op="cancel").error
    assert way.server.call("happened", what="abandoned", path=path)


def test_an_answer_before_the_whole_request(way: Way) -> None:
    """The server has said its word and reads no more: the client gets it, and the proxy goes on."""
    answer = way.client.ask("/refuse", "POST", size=3_000_000)
    if answer.status:  # an HTTP/1 client may be told only by the end of its connection, while it writes
        assert answer.status == 413
    else:
        assert way.client.version == "http1"
    way.client.ask("/bytes?n=5&as=length").assert_pattern(5)


def test_connections_that_the_server_drops(way: Way) -> None:
    """Every stream of them ends, and what comes next finds its way. Nothing here may be asked again by the proxy."""
    paths = [own("silent") for _ in range(5)] + [own("hang")]
    for path in paths:
        way.client.open(path, "POST", size=3)
        assert way.server.call("happened", what="begun", path=path)
    way.server.call("drop")
    for path in paths:
        answer = way.client.result(path)
        assert answer.error or answer.status >= 500
    way.client.ask("/bytes?n=5&as=length").assert_pattern(5)
