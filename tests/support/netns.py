"""Network namespaces of the test's own: a machine with a workload and one outside, joined by a cable.

Nothing in them reaches the machine's network. They are removed when the block ends, however it ends; those that a
killed run left behind go when the next one starts.
"""

import contextlib
import ctypes
import functools
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from tests.support.sanitizer import FOREIGN, SANITIZED
from tests.support.wait import DEADLINE_S, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = pathlib.Path(__file__).with_name("netns_peer.py")
COMMAND = pathlib.Path(__file__).with_name("netns_command.py")
_PREFIX = "fmtest"
_numbers = itertools.count()
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_CLONE_NEWNET = 0x40000000  # linux/sched.h


def run(*command: str, text: str = "", check: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end; what it printed."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("FASTMESH_")}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=30, check=False,
        env={**inherited, "PATH": _PATH, **variables},
    )  # fmt: skip
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done


@functools.cache
def impossible() -> str:
    """Why this machine has no namespaces for us; "" when it has."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if SANITIZED:
        return FOREIGN
    for program in ("ip", "nft", "iptables"):
        if shutil.which(program, path=_PATH) is None:
            return f"network namespaces need {program} (tools/need test)"
    _sweep()
    name = f"{_PREFIX}-{os.getpid()}-try"
    made = run("ip", "netns", "add", name, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    run("ip", "netns", "del", name)
    return ""


def _sweep() -> None:
    """Removes what runs that were killed have left."""
    for line in run("ip", "netns", "list", check=False).stdout.splitlines():
        match = re.match(rf"{_PREFIX}-(\d+)-", line)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            run("ip", "netns", "del", line.split()[0], check=False)


def _enter(descriptor: int) -> None:
    """setns(2); os.setns came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Helper:
    """A process in a namespace that is asked by a line of JSON and answers by one."""

    def __init__(self, space: "Namespace", *command: str) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", space.name, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PATH": _PATH, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def call(self, *question: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the helper ended when it was asked {question}"
        return json.loads(line)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Command(Helper):
    """Runs commands of fastmesh; see netns_command.py."""

    def __init__(self, space: "Namespace") -> None:
        super().__init__(space, sys.executable, "-P", str(COMMAND))  # -P: fastmesh.py lies beside it

    def run(self, *words: str, path: str) -> str:
        """Its standard output; RuntimeError with its standard error when it fails."""
        code, out, err = self.call(words, path)
        if code:
            raise RuntimeError(f"fastmesh {' '.join(words)} ended with {code}: {err}")
        return str(out)


class Peer(Helper):
    """Opens and accepts connections as it is told; see netns_peer.py."""

    def __init__(self, space: "Namespace", uid: int) -> None:
        super().__init__(space, sys.executable, "-ISB", str(PEER), str(uid))

    def ask(self, verb: str, *arguments: object) -> Any:
        """One call. Raises what the peer met, as OSError."""
        error, answer = self.call(verb, *arguments)
        if error:
            raise OSError(error)
        return answer

    def listen(self, host: str, port: int, transparent: bool = False) -> None:
        """Greets whoever connects with a line about the connection, and sends back what comes."""
        self.ask("listen", host, port, transparent)

    def dial(self, host: str, port: int) -> tuple[int, dict[str, Any]]:
        """Connects; the connection's number and the greeting."""
        number, greeting = self.ask("dial", host, port)
        return number, greeting

    def greeting(self, host: str, port: int) -> dict[str, Any]:
        """What whoever answers there says of the connection."""
        number, greeting = self.dial(host, port)
        self.ask("close", number)
        return greeting

    def echo(self, number: int, text: str) -> str:
        """Sends a text on a connection; what comes back."""
        return str(self.ask("echo", number, text))


class Namespace:
    """One network namespace. Use it in a with statement."""

    def __init__(self) -> None:
        self.name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._helpers: list[Helper] = []

    def __enter__(self) -> "Namespace":
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def run(self, *command: str, text: str = "", check: bool = True, **variables: str) -> str:
        """Runs a command inside; its standard output."""
        return run("ip", "netns", "exec", self.name, *command, text=text, check=check, **variables).stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread does inside the block happens here: sockets it opens, processes it starts."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def peer(self, uid: int = 0) -> Peer:
        """A new process inside, of that user; ended with the namespace."""
        peer = Peer(self, uid)
        self._helpers.append(peer)
        return peer

    def command(self) -> Command:
        """A new process inside that runs commands of fastmesh; ended with the namespace."""
        command = Command(self)
        self._helpers.append(command)
        return command

    def join(self, other: "Namespace", here: tuple[str, ...], there: tuple[str, ...]) -> None:
        """A cable between the two, with these addresses (with prefix) at its ends."""
        for space in (self, other):
            # An address of the link's own is not tried out for a second first.
            space.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
        self.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other.name)
        for space, addresses in ((self, here), (other, there)):
            for address in addresses:
                space.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
            space.run("ip", "link", "set", "eth0", "up")
        # An end that is not ready loses the first question for its neighbour, which is asked again a second later.
        until(lambda: self._is_ready() and other._is_ready(), "both ends of the cable")

    def _is_ready(self) -> bool:
        said = self.run("ip", "addr", "show", "dev", "eth0")
        return "LOWER_UP" in said and "tentative" not in said

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            for helper in self._helpers:
                helper.close()
        finally:
            run("ip", "netns", "del", self.name)
