"""Compares a message with what a case expects of it."""

from tests.support.http1 import Message, Request, Response

# Fields of one hop (RFC 9110 7.6.1) that never cross the proxy unless a case says so.
HOP = ("keep-alive", "proxy-connection", "te", "upgrade", "http2-settings")


def start_and_fields(message: Message, lines: list[str], where: str) -> None:
    """Each line is the start line, `name: value` (all values of the name, in order), `name~: joined` or `!name`."""
    wanted: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if line.startswith("!") and " " not in line:
            assert not message.all(line[1:]), f"{where}: {line[1:]} must be absent: {message.head!r}"
        elif colon and " " not in name and name.endswith("~"):
            joined = ", ".join(v.decode("latin-1") for v in message.all(name[:-1]))
            assert joined == value, f"{where}: {name[:-1]} joined is {joined!r}, not {value!r}"
        elif colon and " " not in name:
            wanted.setdefault(name.lower(), []).append(value)
        else:
            assert message.start == line.encode("latin-1"), f"{where}: {message.start[:300]!r} is not {line[:300]!r}"
    for name, values in wanted.items():
        found = [value.decode("latin-1") for value in message.all(name)]
        assert found == values, f"{where}: {name} is {found!r}, not {values!r}"


def body_and_trailers(message: Message, body: bytes | None, trailers: list[str] | None, where: str) -> None:
    if body is not None:
        assert bytes(message.body) == body, f"{where}: body {bytes(message.body[:200])!r} is not {body[:200]!r}"
    if trailers is not None:
        found = [f"{name.decode().lower()}: {value.decode('latin-1')}" for name, value in message.trailers]
        assert found == trailers, f"{where}: trailers {found} are not {trailers}"


def hop_fields_gone(message: Message, lines: list[str], where: str) -> None:
    """No field of one hop has crossed, except those the case names."""
    named = {line.partition(":")[0].lower() for line in lines}
    for name in HOP:
        assert name in named or not message.all(name), f"{where}: {name} crossed the proxy: {message.head!r}"


def forwarded(request: Request, lines: list[str], where: str = "upstream") -> None:
    """What every forwarded request has to be, whatever came in."""
    assert request.complete, f"{where}: incomplete: {request.head!r}"
    assert request.version == "HTTP/1.1", f"{where}: {request.start!r}"
    hop_fields_gone(request, lines, where)
    start_and_fields(request, lines, where)


def refusal(response: Response, statuses: list[int]) -> None:
    """An answer made by the proxy that ends the connection, says why, and frames its body."""
    assert response.status in statuses, f"not in {statuses}: {response.head!r}{bytes(response.body)!r}"
    assert response.closes, f"a refusal must announce the end of the connection: {response.head!r}"
    assert response.get("fastmesh-error"), f"no reason in fastmesh-error: {response.head!r}"
    assert response.get("content-length") is not None, f"no framing: {response.head!r}"
    assert response.get("date") is not None, f"no Date (RFC 9110 6.6.1): {response.head!r}"
