"""What the admin port answers: a table of pages over plain callables; it knows nothing of workers or metrics."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, get_args

from fastmesh.admin.http import Request, Response, text_response
from fastmesh.config.model import LogLevel

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


class Sources(NamedTuple):
    """Where the pages get what they show, and what they may set off."""

    not_ready: Callable[[], str]  # why the process should get no traffic; "" when it should
    metrics: Callable[[], Awaitable[list[bytes]]]
    config: Callable[[], dict[str, Any]]
    endpoints: Callable[[], list[dict[str, Any]]]
    drain: Callable[[], None]
    log_level: Callable[[], LogLevel]
    set_log_level: Callable[[LogLevel], None]


class _Page(NamedTuple):
    about: str
    get: Callable[[Request], Awaitable[Response]] | None = None
    post: Callable[[Request], Awaitable[Response]] | None = None


class Pages:
    """The handler of the admin server."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._scrape: asyncio.Task[list[bytes]] | None = None
        self._pages = {
            "/": _Page("this list", get=self._index),
            "/live": _Page("200 while the process runs", get=self._live),
            "/ready": _Page("200 when it should get traffic, 503 and the reason otherwise", get=self._ready),
            "/metrics": _Page("Prometheus text", get=self._metrics),
            "/config": _Page("the effective configuration (JSON)", get=self._config),
            "/endpoints": _Page("what is known of each endpoint (JSON)", get=self._endpoints),
            "/loglevel": _Page("the level of the process log; POST a level", get=self._level, post=self._set_level),
            "/drain": _Page("POST: finish what is under way and exit", post=self._drain),
        }

    async def handle(self, request: Request) -> Response:
        """The answer to one request."""
        page = self._pages.get(request.path)
        if page is None:
            return text_response(404, f"no such page; / lists them: {request.path}")
        if request.method in ("GET", "HEAD") and page.get is not None:
            return await page.get(request)
        if request.method == "POST" and page.post is not None:
            if not request.is_local:
                return text_response(403, "only from this machine, over loopback or a Unix socket")
            if request.origin:
                return text_response(403, "not from a web page")
            return await page.post(request)
        allow = [*(["GET", "HEAD"] if page.get else []), *(["POST"] if page.post else [])]
        return text_response(405, f"only {', '.join(allow)} here", allow=", ".join(allow))

    async def _index(self, request: Request) -> Response:
        width = max(map(len, self._pages)) + 2
        return text_response(200, "\n".join(f"{path:<{width}}{page.about}" for path, page in self._pages.items()))

    async def _live(self, request: Request) -> Response:
        return text_response(200, "live")

    async def _ready(self, request: Request) -> Response:
        why = self._sources.not_ready()
        return text_response(503, why) if why else text_response(200, "ready")

    async def _metrics(self, request: Request) -> Response:
        """Scrapes that come while one is rendered share its result."""
        if self._scrape is None:
            self._scrape = asyncio.ensure_future(self._sources.metrics())
            self._scrape.add_done_callback(self._scraped)
        pieces = await asyncio.shield(self._scrape)
        return Response(200, pieces, METRICS_TYPE)

    def _scraped(self, scrape: asyncio.Task[list[bytes]]) -> None:
        self._scrape = None  # the text may be megabytes: only its readers keep it

    async def _config(self, request: Request) -> Response:
        return _json(self._sources.config())

    async def _endpoints(self, request: Request) -> Response:
        return _json(self._sources.endpoints())

    async def _level(self, request: Request) -> Response:
        return text_response(200, self._sources.log_level())

    async def _set_level(self, request: Request) -> Response:
        word = request.body.decode("latin-1").strip().lower().removeprefix("level=")
        for level in LOG_LEVELS:
            if level == word:
                self._sources.set_log_level(level)
                return text_response(200, level)
        return text_response(400, f"the body must be one of {', '.join(LOG_LEVELS)}")

    async def _drain(self, request: Request) -> Response:
        self._sources.drain()
        return text_response(202, "draining")


def _json(value: object) -> Response:
    body = json.dumps(value, indent=2, default=str).encode()
    return Response(200, (body, b"\n"), "application/json")
