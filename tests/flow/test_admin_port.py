"""The admin port of a running process: every page, and that none waits for another or for traffic."""

import json
import re
import select
from collections.abc import Iterator

import pytest

from tests.support.client import Client, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.metrics import Metrics

ROUTES = 150


@pytest.fixture(scope="module")
def origin() -> Iterator[EchoOrigin]:
    with EchoOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(origin: EchoOrigin) -> Iterator[Fastmesh]:
    with Fastmesh(upstream=origin.address, metrics_endpoints="on") as proxy:
        yield proxy


def test_every_page_of_the_index_answers(proxy: Fastmesh) -> None:
    index = proxy.admin_get("/")
    pages = [line.split()[0] for line in bytes(index.body).decode().splitlines()]
    assert set(pages) >= {"/live", "/ready", "/metrics", "/config", "/endpoints", "/drain", "/loglevel"}
    with Client(proxy.admin) as client:
        for page in pages:
            assert client.get(page).status == (405 if page == "/drain" else 200), page


def test_endpoints_say_what_is_known_of_them(proxy: Fastmesh, origin: EchoOrigin) -> None:
    with Client(proxy.address) as client:
        for _ in range(10):
            assert client.get("/").status == 200
    proxy.settle()
    (endpoint,) = json.loads(proxy.admin_get("/endpoints").body)
    assert (endpoint["backend"], endpoint["address"], endpoint["state"]) == ("default", origin.address, "ready")
    assert endpoint["requests"] >= 10
    assert endpoint["requests"] == endpoint["connects"] + endpoint["reuses"]
    assert endpoint["failures"] == endpoint["in_flight"] == 0
    assert 0 < endpoint["ewma_ms"] < 1000
    labels = {"backend": "default", "endpoint": origin.address}
    assert proxy.metrics().sum("fastmesh_endpoint_requests_total", **labels) == endpoint["requests"]


def test_config_is_the_effective_one_with_sources(proxy: Fastmesh, origin: EchoOrigin) -> None:
    shown = json.loads(proxy.admin_get("/config").body)
    (backend,) = shown["effective"]["backends"]
    assert backend["endpoints"] == [{"address": origin.address, "weight": 1}]
    assert shown["effective"]["drain_timeout"] == "30s"
    assert (shown["sources"]["upstream"], shown["sources"]["drain_timeout"]) == ("environment", "default")


def test_the_log_level_changes_at_run_time(proxy: Fastmesh) -> None:
    assert bytes(proxy.admin_get("/loglevel").body) == b"info\n"
    for level in ("debug", "info"):
        seen = len(proxy.lines)
        assert proxy.admin_post("/loglevel", level.encode()).status == 200
        proxy.wait_log(lambda line, level=level: "log level set" in line and level in line, after=seen)
        assert bytes(proxy.admin_get("/loglevel").body) == f"{level}\n".encode()
    assert proxy.admin_post("/loglevel", b"loud").status == 400


def test_a_web_page_cannot_end_the_process(proxy: Fastmesh) -> None:
    with Client(proxy.admin) as client:
        asked = request("POST", "/drain", "Origin: http://evil.test", body=b"")
        assert client.ask(asked, "POST").status == 403
    assert proxy.admin_get("/ready").status == 200


def test_admin_on_a_unix_socket(origin: EchoOrigin, tmp_path: object) -> None:
    with Fastmesh(upstream=origin.address, admin=f"unix:{tmp_path}/admin.sock") as proxy:
        assert proxy.admin == f"unix:{tmp_path}/admin.sock"
        assert proxy.admin_post("/loglevel", b"debug").status == 200
        assert proxy.metrics().sum("fastmesh_ready") == 1


@pytest.fixture(scope="module")
def many(origin: EchoOrigin) -> Iterator[Fastmesh]:
    """A process with a series per latency bucket for many routes, all of them used."""
    routes = "".join(f'[[routes]]\nname = "r{i}"\nbackend = "b"\npath = "/{i}"\n' for i in range(ROUTES))
    backend = f'[[backends]]\nname = "b"\nendpoints = ["{origin.address}"]\n'
    with Fastmesh(config=routes + backend) as proxy:
        with Client(proxy.address) as client:
            for i in range(ROUTES):
                assert client.get(f"/{i}").status == 200
        yield proxy


def test_ready_is_answered_while_a_scrape_is_rendered(many: Fastmesh) -> None:
    """A scrape takes its time; whoever asks for /ready meanwhile does not wait for it."""
    with Client(many.admin) as scraper, Client(many.admin) as prober:
        assert prober.get("/ready").status == 200
        meanwhile = []
        for _ in range(3):
            scraper.send(request("GET", "/metrics"))
            probes = 0
            while not select.select([scraper.sock], [], [], 0)[0]:
                assert prober.get("/ready").status == 200
                probes += 1
            meanwhile.append(probes)
            scrape = Metrics(bytes(scraper.read().body).decode())
        assert len(scrape.samples) > ROUTES * 300
        assert max(meanwhile) >= 3


def test_scrapes_at_the_same_time_agree(many: Fastmesh) -> None:
    clients = [Client(many.admin) for _ in range(5)]
    try:
        for client in clients:
            client.send(request("GET", "/metrics"))
        bodies = [bytes(client.read().body) for client in clients]
        counts = [Metrics(body.decode()).sum("fastmesh_requests_total") for body in bodies]
        assert counts == [ROUTES] * 5
    finally:
        for client in clients:
            client.close()


def test_traffic_goes_on_during_scrapes(many: Fastmesh) -> None:
    with Client(many.admin) as scraper, Client(many.address) as client:
        scraper.send(request("GET", "/metrics"))
        answered = 0
        while not select.select([scraper.sock], [], [], 0)[0]:
            assert client.get("/0").status == 200
            answered += 1
        scraper.read()
        assert answered >= 3


def test_names_follow_the_conventions(many: Fastmesh) -> None:
    """Base units, a prefix of our own, counters that end in _total, and nothing without help."""
    text = many.metrics().text
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    helped = set(re.findall(r"# HELP (\S+) \S", text))
    assert kinds.keys() == helped
    for name, kind in kinds.items():
        assert re.fullmatch(r"(fastmesh|process)_[a-z0-9_]+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|ns|us|millis|kb|mb|percent)(_|$)", name), name
