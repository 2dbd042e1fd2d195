"""The pages: what each answers, who may do what, and scrapes that share one rendering."""

import asyncio
import json
from typing import Any

import pytest

from fastmesh.admin.http import Request, Response
from fastmesh.admin.pages import Pages, Sources


class Rig:
    """Pages over answers that a test can set."""

    def __init__(self) -> None:
        self.why = ""
        self.level: Any = "info"
        self.drained = 0
        self.rendered = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.pages = Pages(
            Sources(
                not_ready=lambda: self.why,
                metrics=self._metrics,
                config=lambda: {"drain_timeout": "30s"},
                endpoints=lambda: [{"address": "10.0.0.1:80"}],
                drain=self._drain,
                log_level=lambda: self.level,
                set_log_level=self._set_level,
            )
        )

    async def _metrics(self) -> list[bytes]:
        self.rendered += 1
        number = self.rendered
        await self.gate.wait()
        return [b"scrape %d\n" % number]

    def _drain(self) -> None:
        self.drained += 1

    def _set_level(self, level: Any) -> None:
        self.level = level

    def ask(self, method: str, path: str, body: bytes = b"", local: bool = True, origin: str = "") -> Response:
        return asyncio.run(self.pages.handle(Request(method, path, body, local, origin, True)))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def body(response: Response) -> bytes:
    return b"".join(response.body)


def test_ready_says_why_not(rig: Rig) -> None:
    assert rig.ask("GET", "/ready").status == 200
    rig.why = "worker 0 stands still"
    response = rig.ask("GET", "/ready")
    assert (response.status, body(response)) == (503, b"worker 0 stands still\n")
    assert rig.ask("GET", "/live").status == 200


def test_the_index_lists_every_page(rig: Rig) -> None:
    text = body(rig.ask("GET", "/")).decode()
    pages = [line.split()[0] for line in text.splitlines()]
    assert pages == ["/", "/live", "/ready", "/metrics", "/config", "/endpoints", "/loglevel", "/drain"]
    for page in pages:
        assert rig.ask("GET", page).status == (405 if page == "/drain" else 200)


def test_config_and_endpoints_are_json(rig: Rig) -> None:
    for page, content in (("/config", {"drain_timeout": "30s"}), ("/endpoints", [{"address": "10.0.0.1:80"}])):
        response = rig.ask("GET", page)
        assert response.content_type == "application/json"
        assert json.loads(body(response)) == content


def test_metrics_have_the_prometheus_type(rig: Rig) -> None:
    response = rig.ask("GET", "/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert body(response) == b"scrape 1\n"
    assert body(rig.ask("GET", "/metrics")) == b"scrape 2\n"


def test_scrapes_at_the_same_time_share_one_rendering_and_hold_up_nothing() -> None:
    async def main() -> None:
        rig = Rig()
        rig.gate.clear()
        get = Request("GET", "/metrics", b"", True, "", True)
        scrapes = [asyncio.ensure_future(rig.pages.handle(get)) for _ in range(5)]
        await asyncio.sleep(0)
        ready = await rig.pages.handle(get._replace(path="/ready"))
        assert ready.status == 200
        scrapes[0].cancel()  # its client went away: the others still get theirs
        rig.gate.set()
        assert [body(response) for response in await asyncio.gather(*scrapes[1:])] == [b"scrape 1\n"] * 4
        assert body(await rig.pages.handle(get)) == b"scrape 2\n"

    asyncio.run(main())


@pytest.mark.parametrize("page", ["/drain", "/loglevel"])
def test_changes_come_from_this_machine_and_not_from_a_web_page(rig: Rig, page: str) -> None:
    assert rig.ask("POST", page, b"debug", local=False).status == 403
    assert rig.ask("POST", page, b"debug", origin="http://evil.test").status == 403
    assert (rig.drained, rig.level) == (0, "info")


def test_drain_by_post(rig: Rig) -> None:
    assert rig.ask("POST", "/drain").status == 202
    assert rig.drained == 1


@pytest.mark.parametrize("text", [b"debug", b" DEBUG\n", b"level=debug"])
def test_loglevel_by_post(rig: Rig, text: bytes) -> None:
    assert rig.ask("POST", "/loglevel", text).status == 200
    assert rig.level == "debug"
    assert body(rig.ask("GET", "/loglevel")) == b"debug\n"


def test_an_unknown_level_is_refused_with_the_known_ones(rig: Rig) -> None:
    response = rig.ask("POST", "/loglevel", b"loud\xff")
    assert response.status == 400
    assert b"debug, info, warning, error" in body(response)
    assert rig.level == "info"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, ""), ("POST", "/nothing", 404, ""), ("GET", "/metrics/", 404, ""),
        ("POST", "/metrics", 405, "GET, HEAD"), ("DELETE", "/loglevel", 405, "GET, HEAD, POST"),
        ("GET", "/drain", 405, "POST"), ("HEAD", "/ready", 200, ""),
    ],
)  # fmt: skip
def test_unknown_pages_and_methods(rig: Rig, method: str, path: str, status: int, allow: str) -> None:
    response = rig.ask(method, path)
    assert (response.status, response.allow) == (status, allow)
