"""Reload: by signal and by file, nothing dropped, and a bad configuration changes nothing."""

import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.client import Client
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import Response
from tests.support.metrics import Metrics
from tests.support.wait import until

RELOADS = "fastmesh_config_reloads_total"


@pytest.fixture(scope="module")
def origins() -> Iterator[tuple[EchoOrigin, EchoOrigin]]:
    with EchoOrigin(name="one") as one, EchoOrigin(name="two") as two:
        yield one, two


def text(upstream: str, *listen: str, more: str = "") -> str:
    """A file with one backend, and listeners when given."""
    listeners = "".join(f'[[listeners]]\nname = "l{i}"\naddress = "{at}"\n' for i, at in enumerate(listen))
    return f'{more}\n{listeners}\n[[backends]]\nname = "b"\nendpoints = ["{upstream}"]\n'


def who(response: Response) -> str:
    assert response.status == 200
    return (response.get("origin") or b"").decode()


def reload(proxy: Fastmesh, content: str, result: str = "ok") -> Metrics:
    """Writes the file, sends SIGHUP and waits until the reload has this result."""
    before = proxy.metrics().sum(RELOADS, result=result)
    proxy.config.write_text(content)
    proxy.signal(signal.SIGHUP)
    return until(lambda: (m := proxy.metrics()).sum(RELOADS, result=result) > before and m, f"a reload, {result}")


def test_sighup_changes_the_upstream_of_an_open_connection(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    one, two = origins
    with Fastmesh(config=text(one.address), reload_interval="off") as proxy, Client(proxy.address) as client:
        assert who(client.get("/")) == "one"
        metrics = reload(proxy, text(two.address))
        assert who(client.get("/")) == "two"
        assert metrics.sum("fastmesh_snapshot_version") == 2
        assert until(lambda: proxy.metrics().sum("fastmesh_snapshots_retired") == 0, "the old snapshot to be freed")
        assert proxy.metrics().sum("fastmesh_connections_accepted_total") == 1


@pytest.mark.parametrize("how", ["write", "rename", "symlink"])
def test_a_changed_file_is_noticed(origins: tuple[EchoOrigin, EchoOrigin], how: str) -> None:
    """However it is changed: written in place, replaced, or behind a link that is swapped (as Kubernetes does)."""
    one, two = origins
    with Fastmesh(config=text(one.address), reload_interval="50ms") as proxy, Client(proxy.address) as client:
        other = proxy.dir / "other.toml"
        if how == "write":
            proxy.config.write_text(text(two.address))
        else:
            other.write_text(text(two.address))
            if how == "rename":
                other.rename(proxy.config)
            else:
                (proxy.dir / "link").symlink_to(other)
                (proxy.dir / "link").rename(proxy.config)
        until(lambda: who(client.get("/")) == "two", "the new upstream")
        assert proxy.metrics().by(RELOADS, "result") == {"ok": 1, "failed": 0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("this is no TOML", "fastmesh.toml"),
        (text("127.0.0.1:9", more='no_such_key = 1\nheader_timeout = "soon"'), "no_such_key"),
        (text("nowhere"), "nowhere"),
    ],
)
def test_a_bad_file_is_refused_with_its_report(origins: tuple[EchoOrigin, EchoOrigin], content: str, said: str) -> None:
    one, two = origins
    with Fastmesh(config=text(one.address), reload_interval="off") as proxy, Client(proxy.address) as client:
        assert who(client.get("/")) == "one"
        metrics = reload(proxy, content, "failed")
        proxy.wait_log(lambda line: "configuration problem" in line and said in line)
        proxy.wait_log(lambda line: "the old one stays" in line)
        assert who(client.get("/")) == "one"
        assert metrics.sum("fastmesh_snapshot_version") == 1
        assert proxy.admin_get("/ready").status == 200
        reload(proxy, text(two.address))
        assert who(client.get("/")) == "two"


def test_all_problems_of_a_refused_file_are_in_the_log(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    with Fastmesh(config=text(origins[0].address), reload_interval="off") as proxy:
        reload(proxy, text("127.0.0.1:9", more='no_such_key = 1\nheader_timeout = "soon"\nfields = 0'), "failed")
        for key in ("no_such_key", "header_timeout", "fields"):
            proxy.wait_log(lambda line, key=key: "configuration problem" in line and f"key={key}" in line)


def test_listeners_come_and_go_and_connections_stay(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    one, _ = origins
    first, second = (f"127.0.0.1:{net.free_port()}" for _ in range(2))
    with Fastmesh(config=text(one.address, first), reload_interval="off", listen=None, workers=2) as proxy:
        with Client(first) as old:
            assert old.get("/").status == 200
            reload(proxy, text(one.address, first, second))
            with Client(second) as new:
                assert new.get("/").status == 200
                reload(proxy, text(one.address, second))
                with pytest.raises(ConnectionRefusedError):
                    until(lambda: Client(first).close(), "the port to close")
                assert old.get("/").status == 200, "a connection outlives its listener"
                assert new.get("/").status == 200
        assert proxy.metrics().sum("fastmesh_requests_total") == 4


def test_a_listener_is_widened_without_closing_its_port(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    port = net.free_port()
    with Fastmesh(config=text(origins[0].address, f"127.0.0.1:{port}"), reload_interval="off", listen=None) as proxy:
        with Client(f"127.0.0.1:{port}") as client:
            assert client.get("/").status == 200
            reload(proxy, text(origins[0].address, f"0.0.0.0:{port}"))
            assert client.get("/").status == 200
        with Client(f"127.0.0.1:{port}") as client:
            assert client.get("/").status == 200


def test_a_unix_listener_comes_and_goes_with_its_file(
    origins: tuple[EchoOrigin, EchoOrigin], tmp_path: pathlib.Path
) -> None:
    path, kept = tmp_path / "front", f"127.0.0.1:{net.free_port()}"
    with Fastmesh(config=text(origins[0].address, kept), reload_interval="off", listen=None, workers=2) as proxy:
        reload(proxy, text(origins[0].address, kept, f"unix:{path}"))
        with Client(f"unix:{path}") as client:
            assert client.get("/").status == 200
            reload(proxy, text(origins[0].address, kept))
            assert not path.exists()
            assert client.get("/").status == 200


def test_a_listener_that_cannot_be_bound_refuses_the_whole_reload(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    one, two = origins
    kept = f"127.0.0.1:{net.free_port()}"
    with Fastmesh(config=text(one.address, kept), reload_interval="off", listen=None) as proxy, net.listen() as taken:
        listening = sum("socket" in fd for fd in proxy.fds())
        added = f"127.0.0.1:{net.free_port()}"
        reload(proxy, text(two.address, kept, added, net.text(taken)), "failed")
        proxy.wait_log(lambda line: "EADDRINUSE" in line and net.text(taken) in line)
        until(lambda: sum("socket" in fd for fd in proxy.fds()) == listening, "descriptors to be given back")
        with pytest.raises(ConnectionRefusedError):
            Client(added)
        with Client(kept) as client:
            assert who(client.get("/")) == "one"


def test_what_is_taken_at_start_only_stays_and_is_named(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    one, two = origins
    with Fastmesh(config=text(one.address), reload_interval="off") as proxy, Client(proxy.address) as client:
        reload(proxy, text(two.address, more="workers = 3\nendpoint_slots = 17"))
        proxy.wait_log(lambda line: "needs a restart" in line and "FASTMESH_WORKERS" in line)
        proxy.wait_log(lambda line: "needs a restart" in line and "FASTMESH_ENDPOINT_SLOTS" in line)
        assert who(client.get("/")) == "two"
        assert b'"workers": 1' in proxy.admin_get("/config").body


def test_counters_go_on_over_reloads(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    one, two = origins
    with Fastmesh(config=text(one.address), reload_interval="off") as proxy, Client(proxy.address) as client:
        for count, upstream in enumerate([two, one, two, one], 1):
            client.get("/")
            metrics = reload(proxy, text(upstream.address))
            assert metrics.sum("fastmesh_requests_total") == count
            assert metrics.sum("fastmesh_upstream_requests_total", backend="b") == count


def test_the_access_log_is_switched_by_a_reload(origins: tuple[EchoOrigin, EchoOrigin], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "access.log"
    on = f'access_log = "{{method}} {{target}}"\naccess_log_path = "{path}"'
    upstream = origins[0].address
    with Fastmesh(config=text(upstream), reload_interval="off") as proxy, Client(proxy.address) as client:
        client.get("/unseen")
        reload(proxy, text(upstream, more=on))
        client.get("/seen")
        until(lambda: path.read_text() == "GET /seen\n", "the line")
        path.rename(tmp_path / "old")
        proxy.signal(signal.SIGUSR1)
        until(path.exists, "the new file")
        client.get("/later")
        until(lambda: path.read_text() == "GET /later\n", "the line in the new file")
        reload(proxy, text(upstream))
        client.get("/unseen")
        until(lambda: str(path) not in proxy.fds(), "the file to be given up")
    assert path.read_text() + (tmp_path / "old").read_text() == "GET /later\nGET /seen\n"


def test_no_request_fails_while_the_configuration_changes_all_the_time(
    origins: tuple[EchoOrigin, EchoOrigin],
) -> None:
    one, two = origins
    stop = threading.Event()
    failures: list[BaseException] = []
    answered = [0] * 4

    def ask(number: int, address: str) -> None:
        try:
            while not stop.is_set():
                with Client(address) as client:
                    for _ in range(10):
                        who(client.get("/bytes?n=5000"))
                        answered[number] += 1
        except BaseException as error:
            failures.append(error)

    with Fastmesh(config=text(one.address), reload_interval="off", workers=2) as proxy:
        threads = [threading.Thread(target=ask, args=(i, proxy.address)) for i in range(len(answered))]
        for thread in threads:
            thread.start()
        for i in range(20):
            before = answered.copy()
            reload(proxy, text(two.address if i % 2 else f'{one.address};weight={i + 1}", "{two.address}'))
            until(lambda before=before: failures or all(map(int.__gt__, answered, before)), "traffic")
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert proxy.metrics().sum("fastmesh_responses_total", code="200") == sum(answered)


def test_a_file_that_vanishes_changes_nothing(origins: tuple[EchoOrigin, EchoOrigin]) -> None:
    one, two = origins
    with Fastmesh(config=text(one.address), reload_interval="20ms") as proxy, Client(proxy.address) as client:
        kept = proxy.config.read_text()
        os.unlink(proxy.config)
        proxy.signal(signal.SIGHUP)
        proxy.wait_log(lambda line: "the old one stays" in line)
        assert who(client.get("/")) == "one"
        proxy.config.write_text(kept.replace(one.address, two.address))
        until(lambda: who(client.get("/")) == "two", "the file that is back")
