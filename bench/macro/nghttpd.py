"""The upstream of every measure with HTTP/2 behind the proxy: nghttpd with one worker and its 100 streams a connection.

It reads a request's body to the end before it answers. With `grpc` each answer ends in trailers like a gRPC server's.
"""

from pathlib import Path

from bench.macro.peer import HTTP2
from bench.macro.processes import Process

SIZE = 100  # of what `/` answers
BULK, BULK_BYTES = "/1g", 1 << 30
CALL = "/bench.Echo/Unary.grpc"  # nghttpd takes the content type from the suffix
MESSAGE = b"\0" + SIZE.to_bytes(4, "big") + b"x" * SIZE  # gRPC over HTTP/2: Length-Prefixed-Message


def start(work: Path, port: int, core: int, grpc: bool = False) -> Process:
    """Ready when it returns. What it serves is below `work`/files, where a client finds it to send too."""
    files = work / "files"
    (files / CALL[1:]).parent.mkdir(parents=True)
    (files / "index.html").write_bytes(b"x" * SIZE)
    (files / CALL[1:]).write_bytes(MESSAGE)
    with (files / BULK[1:]).open("wb") as bulk:
        bulk.truncate(BULK_BYTES)
    types = work / "types"
    types.write_text("application/grpc grpc\n")
    command = ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", str(files), "-w", "30", "-W", "30"]
    command += ["--mime-types-file", str(types)]
    if grpc:
        command += ["--no-content-length", "--trailer", "grpc-status: 0"]
    process = Process([*command, str(port)], core=core, log=work / "log")
    process.wait_ready(port, protocol=HTTP2)
    return process
