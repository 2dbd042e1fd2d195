"""Listening sockets: shared ports, ports in use, Unix sockets and what is found in their way."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastmesh.config.model import Address
from fastmesh.workers import BindError, Bound, bind, release, unlink
from tests.support import net

Bind = Callable[..., Bound]


@pytest.fixture
def bound() -> Iterator[Bind]:
    """bind() whose sockets are closed when the test ends."""
    made: list[Bound] = []

    def call(address: Address, count: int = 1, own_ports: frozenset[int] = frozenset()) -> Bound:
        made.append(bind(address, count, 64, own_ports))
        return made[-1]

    yield call
    for each in made:
        release(each)


def accepts(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return False
    return True


def inet(port: int = 0, host: str = "127.0.0.1") -> Address:
    return Address("inet", host, port)


def test_every_worker_gets_a_socket_of_one_port(bound: Bind) -> None:
    found = bound(inet(), 3)
    assert found.port > 0
    assert found.text == f"127.0.0.1:{found.port}"
    assert len(set(found.fds)) == 3
    for _ in range(12):
        net.dial(found.text).close()
        assert [accepts(fd) for fd in found.fds].count(True) == 1


def test_descriptors_do_not_block_and_are_not_inherited(bound: Bind) -> None:
    for fd in bound(inet(), 2).fds:
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)


def test_a_port_somebody_listens_on_is_refused_even_if_it_would_share(bound: Bind) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BindError, match=rf"127\.0\.0\.1:{port}: .*EADDRINUSE") as caught:
            bound(inet(port), 2)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_second_group_on_the_same_port_is_refused(bound: Bind) -> None:
    port = bound(inet(), 2).port
    with pytest.raises(BindError):
        bound(inet(port), 2)


def test_own_ports_are_shared_so_that_an_address_can_be_replaced(bound: Bind) -> None:
    first = bound(inet(host="0.0.0.0"), 2)
    second = bound(inet(first.port), 2, frozenset({first.port}))
    assert second.port == first.port


def test_ipv6_wildcard_takes_ipv4_as_well(bound: Bind) -> None:
    found = bound(Address("inet6", "::", 0))
    assert found.text == f"[::]:{found.port}"
    for host in ("127.0.0.1", "[::1]"):
        net.dial(f"{host}:{found.port}").close()
        assert accepts(found.fds[0])


def test_a_name_is_resolved_to_ipv4_first(bound: Bind) -> None:
    assert bound(Address("name", "localhost", 0)).text.startswith("127.0.0.1:")


def test_an_address_of_another_machine_is_refused_by_name(bound: Bind) -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:80: .*EADDRNOTAVAIL"):
        bound(inet(80, "192.0.2.1"))


def unix(path: Path) -> Address:
    return Address("unix", path=str(path))


def test_unix_socket_is_one_queue_for_all_workers(bound: Bind, tmp_path: Path) -> None:
    found = bound(unix(tmp_path / "a.sock"), 3)
    assert found.text == f"unix:{tmp_path}/a.sock"
    assert len(set(found.fds)) == 3
    net.dial(found.text).close()
    net.dial(found.text).close()
    assert [accepts(fd) for fd in found.fds] == [True, True, False]


def test_a_stale_unix_socket_is_replaced(bound: Bind, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    net.listen(f"unix:{path}").close()
    assert path.is_socket()
    net.dial(bound(unix(path)).text).close()


def test_a_unix_socket_in_use_is_refused(bound: Bind, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with net.listen(f"unix:{path}"), pytest.raises(BindError, match="EADDRINUSE"):
        bound(unix(path))
    assert path.is_socket()


def test_a_file_in_the_way_is_never_removed(bound: Bind, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="EEXIST"):
        bound(unix(path))
    assert path.read_text() == "data"


def test_unlink_removes_its_own_socket_only(bound: Bind, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = bound(unix(path))
    path.unlink()
    second = bound(unix(path))
    unlink(first)
    assert path.is_socket()
    unlink(second)
    assert not path.exists()
    unlink(second)  # a second time is no error


def test_release_frees_the_port_for_another_process(bound: Bind) -> None:
    found = bound(inet(), 2)
    release(found)
    script = f"import socket; socket.create_server(('127.0.0.1', {found.port}))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
