"""Peers in processes of their own: programs that obey commands, one JSON value a line each way; and what is in front
of them."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from tests.support.client import digest, pattern
from tests.support.fastmesh import Fastmesh
from tests.support.server import plain_environment
from tests.support.wait import DEADLINE_S

HERE = pathlib.Path(__file__).parent / "peers"
CALL_S = 20.0


class Peer:
    """A program under command. Several calls may be open at once."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=plain_environment(), cwd=HERE.parents[2]
        )
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            with self._changed:
                self._answers[answer["id"]] = answer
                self._changed.notify_all()

    def wait(self, number: int) -> Any:
        """What the program answered to a call; its failure is the test's."""
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._answers, CALL_S):
                raise TimeoutError(f"{self.process.args!r} does not answer; exit status {self.process.poll()}")
            answer = self._answers.pop(number)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def begin(self, op: str, **rest: object) -> int:
        """Calls, and does not wait for the answer."""
        number = next(self._numbers)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, "op": op, **rest}).encode() + b"\n")
        self.process.stdin.flush()
        return number

    def call(self, op: str, **rest: object) -> Any:
        return self.wait(self.begin(op, **rest))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """It ends at the end of its input, or is killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self.process.stdout.close()


class Server(Peer):
    """A peer that listens: it says its address by itself."""

    def __init__(self, *command: str) -> None:
        super().__init__(*command)
        self.address = str(self.wait(0))


def node_server(version: str) -> Server:
    return Server("node", str(HERE / "node_server.mjs"), version)


def python_peer(name: str) -> tuple[str, str, str]:
    """The command of a module of `tests/support/peers`."""
    return sys.executable, "-m", f"tests.support.peers.{name}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a node client got."""

    status: int
    fields: list[tuple[str, str]]
    interim: list[tuple[int, list[tuple[str, str]]]]
    trailers: list[tuple[str, str]]
    size: int
    sha256: str
    text: str
    error: str | None

    def get(self, name: str) -> str | None:
        """The value of a field that stands once; None when it is not there."""
        found = self.values(name)
        assert len(found) < 2, found
        return found[0] if found else None

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def json(self) -> Any:
        assert (self.status, self.error) == (200, None)
        return json.loads(self.text)

    def assert_pattern(self, size: int) -> None:
        assert (self.error, self.size) == (None, size)
        assert self.sha256 == digest(pattern(size))


class NodeClient(Peer):
    """node's clients for one version of HTTP, at one address."""

    def __init__(self, version: str, address: str) -> None:
        super().__init__("node", "--max-http-header-size=131072", str(HERE / "node_client.mjs"))
        self.version = version
        self.address = address

    def _question(
        self, path: str, method: str = "GET", *, fields: list[tuple[str, str]] | None = None, size: int | None = None,
        known: bool = True, trailers: dict[str, str] | None = None, **rest: object,
    ) -> dict[str, object]:  # fmt: skip
        """`size` of the body, None for none; `known`: whether its length is said."""
        body = None if size is None else {"size": size, "known": known}
        return {
            "version": self.version, "address": self.address, "path": path, "method": method, "fields": fields or [],
            "body": body, "trailers": trailers, **rest,
        }  # fmt: skip

    def ask(self, path: str, method: str = "GET", op: str = "ask", **rest: Any) -> Answer:
        return Answer(**self.call(op, **self._question(path, method, **rest)))

    def ask_all(self, *paths: str, **rest: Any) -> list[Answer]:
        """All at once."""
        questions = [self._question(path, **rest) for path in paths]
        return [Answer(**answer) for answer in self.call("all", questions=questions)]

    def open(self, path: str, method: str = "GET", **rest: Any) -> str:
        """Asks; `abandon` gives up, `result` has the answer. The key is the path."""
        self.call("begin", key=path, **self._question(path, method, **rest))
        return path

    def abandon(self, key: str) -> Answer:
        self.call("abandon", key=key)
        return self.result(key)

    def result(self, key: str) -> Answer:
        return Answer(**self.call("result", key=key))


@contextlib.contextmanager
def before(upstream: str, protocol: str = "auto", **settings: object) -> Iterator[str]:
    """The address of a fastmesh before `upstream`. With PEERS_DIRECT=1 in the environment it is the upstream's own:
    whether a test's failure is fastmesh's or a peer's is seen by that."""
    if os.environ.get("PEERS_DIRECT") == "1":
        yield upstream
        return
    with Fastmesh(upstream=upstream, upstream_protocol=protocol, **settings) as proxy:
        yield proxy.address
