"""An asyncio origin that answers many connections at once: what a service behind a sidecar does."""

import asyncio
import hashlib
import threading
from urllib.parse import parse_qs, urlsplit

from tests.support import net
from tests.support.client import pattern
from tests.support.http1 import Request, RequestStream, chunked
from tests.support.wait import DEADLINE_S

PIECE_BYTES = 40_000  # of a chunked answer: neither a power of two nor the size of a buffer


class EchoOrigin:
    """Answers by path: /echo?as=length|chunked|close, /bytes?n=N&as=..., /sum, /status?code=N, /fields.

    `requests` counts whole ones; `name` comes back in the field `origin` so that a test sees who answered.
    """

    def __init__(self, address: str = "127.0.0.1:0", name: str = "") -> None:
        self.requests = 0
        self.connections = 0
        self.names: dict[str, int] = {}
        self._listener = net.listen(address)
        self.address = net.text(self._listener)
        self.name = name or self.address
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        if not self._ready.wait(DEADLINE_S):
            raise TimeoutError("the asyncio origin did not start")

    def __enter__(self) -> "EchoOrigin":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the listener and every connection."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(DEADLINE_S)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        start = asyncio.start_unix_server if self.address.startswith("unix:") else asyncio.start_server
        server = await start(self._accept, sock=self._listener)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = RequestStream()
        try:
            while data := await reader.read(1 << 18):
                for request in stream.feed(data):
                    self.requests += 1
                    answer, keep = self._answer(request)
                    writer.write(answer)
                    await writer.drain()
                    if not keep:
                        return
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, request: Request) -> tuple[bytes, bool]:
        """Bytes of the answer, and whether the connection goes on."""
        parts = urlsplit(request.target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        how = query.get("as", "length")
        code = query.get("code", "200")
        body = bytes(request.body)
        if parts.path == "/bytes":
            body = pattern(int(query["n"]))
        elif parts.path == "/sum":
            body = hashlib.sha256(body).hexdigest().encode()
        elif parts.path == "/fields":
            body = request.head
        fields = f"Origin: {self.name}\r\n"
        if request.trailers:
            fields += "".join(f"Got-{name.decode()}: {value.decode()}\r\n" for name, value in request.trailers)
        return self._framed(request.method, code, fields, body, how)

    @staticmethod
    def _framed(method: str, code: str, fields: str, body: bytes, how: str) -> tuple[bytes, bool]:
        bodyless = method == "HEAD" or code in ("204", "304")
        head = f"HTTP/1.1 {code} Answer\r\n{fields}"
        if how == "chunked":
            pieces = [body[i : i + PIECE_BYTES] for i in range(0, len(body), PIECE_BYTES)]
            payload = chunked(*pieces, trailers=b"Length: %d\r\n" % len(body))
            return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + (b"" if bodyless else payload), True
        if how == "close":
            return f"{head}Connection: close\r\n\r\n".encode() + (b"" if bodyless else body), False
        if code not in ("204", "304"):
            head += f"Content-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode() + (b"" if bodyless else body), True
