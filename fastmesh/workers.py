"""Worker threads: their sockets, start, heartbeats, drain and end.

Each worker is one thread inside `Worker.run`, which gives the GIL away for good. A listener is one socket per worker
in a SO_REUSEPORT group; a Unix socket, which knows no such group, is one socket with a descriptor per worker.
"""

import asyncio
import errno
import gc
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fastmesh._core.spec import WorkerSpec
from fastmesh.config.model import Address, Config

if TYPE_CHECKING:
    from fastmesh._core.bridge import Event, LogRing, Publisher, Worker

_IPV6_TRANSPARENT = 75  # linux/in6.h
_LIVE_CHECK_S = 1.0  # how long a socket file found in the way is given to answer


class BindError(Exception):
    """An address cannot be listened on; the text names the address and the system's reason."""

    def __init__(self, address: Address, error: OSError) -> None:
        self.errno = error.errno
        name = errno.errorcode.get(error.errno or 0, "")
        super().__init__(f"cannot listen on {address.text}: {error.strerror or error} ({name or error.errno})")


class Bound(NamedTuple):
    """A listening address: one descriptor per worker, each owned by whoever takes it."""

    address: Address  # as configured
    text: str  # as bound: the port is the real one
    port: int  # 0 for a Unix socket
    fds: list[int]
    file: tuple[int, int] | None  # device and inode of a Unix socket's file


def bind(
    address: Address, count: int, backlog: int, own_ports: frozenset[int] = frozenset(), tproxy: bool = False
) -> Bound:
    """Listens on the address with `count` descriptors. Raises BindError. `tproxy`: for what TPROXY hands over.

    The first socket is bound without SO_REUSEPORT, so a port that another process listens on is refused instead of
    shared by accident; `own_ports` are those this process listens on already and may share.
    """
    try:
        if address.kind == "unix":
            return _bind_unix(address, count, backlog)
        return _bind_inet(address, count, backlog, own_ports, tproxy)
    except OSError as error:
        raise BindError(address, error) from error


def _bind_inet(address: Address, count: int, backlog: int, own_ports: frozenset[int], tproxy: bool) -> Bound:
    host, port = _resolved(address)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # whatever the system's default is
            if tproxy and sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
            elif tproxy:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
            if len(sockets) > 1 or port in own_ports:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((host, port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # let the others, bound next, share the port
            port = sock.getsockname()[1]
        for sock in sockets:
            sock.listen(backlog)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    text = Address("inet6" if ":" in host else "inet", host, port).text
    return Bound(address, text, port, [sock.detach() for sock in sockets], None)


def _resolved(address: Address) -> tuple[str, int]:
    if address.is_numeric:
        return address.host, address.port
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # "localhost" means 127.0.0.1 to most clients
    return str(found[0][4][0]), address.port


def _bind_unix(address: Address, count: int, backlog: int) -> Bound:
    _unlink_stale(address.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.bind(address.path)
        made = os.stat(address.path)
        sock.listen(backlog)
        fds = [os.dup(sock.fileno()) for _ in range(count)]
    return Bound(address, address.text, 0, fds, (made.st_dev, made.st_ino))


def _unlink_stale(path: str) -> None:
    """Removes a socket file nobody listens on any more. Raises OSError when something else is in the way."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "the path exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_LIVE_CHECK_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except (TimeoutError, BlockingIOError):
            pass  # its backlog is full: somebody is there
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def release(bound: Bound) -> None:
    """Closes descriptors nobody took, and removes the socket's file."""
    while bound.fds:
        os.close(bound.fds.pop())
    unlink(bound)


def unlink(bound: Bound) -> None:
    """Removes a Unix socket's file, unless another socket has taken its place."""
    if bound.file is None:
        return
    try:
        found = os.stat(bound.address.path)
        if (found.st_dev, found.st_ino) == bound.file:
            os.unlink(bound.address.path)
    except OSError:
        pass  # gone already, or the directory is not ours any more


class Thread:
    """One worker and its thread."""

    def __init__(self, worker: "Worker", index: int) -> None:
        self.worker = worker
        self.index = index
        self.result: int | None = None  # errno of run(), 0: ended as told; None: still runs
        self.thread = threading.Thread(target=self._run, name=f"fastmesh-{index}", daemon=True)
        self.turns = -1
        self.moved_s = 0.0  # when the loop was last seen to have turned
        self.is_stuck = False

    def start(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self.moved_s = time.monotonic()
        self.thread.start()

    def _run(self) -> None:
        # Signals are for the Python thread; here they would only interrupt system calls.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        result = errno.EIO  # when run() raises: that must not look like a worker that still runs
        try:
            result = self.worker.run()
        finally:
            self.result = result
            self._ended()

    def look(self, now_s: float, timeout_s: float) -> bool:
        """Whether the state of being stuck changed. Wakes the worker, so that an idle one turns as well."""
        turns = self.worker.heartbeat()[0]
        was_stuck = self.is_stuck
        if turns != self.turns or self.result is not None:
            self.turns, self.moved_s, self.is_stuck = turns, now_s, False
        elif now_s - self.moved_s > timeout_s:
            self.is_stuck = True
        self.tell(self.worker.wake)
        return self.is_stuck != was_stuck

    def tell(self, command: Callable[[], None]) -> bool:
        """Gives the worker a command; False when it has ended, or stands still and its mailbox is full."""
        if self.result is not None:
            return False
        try:
            command()
        except OSError:
            return False
        return True


class Pool:
    """All workers of the process.

    `log` is the process log. `on_event` gets what the core reports, with the worker's index; `on_end` is called in the
    loop whenever a worker's thread has ended.
    """

    def __init__(
        self,
        config: Config,
        publisher: "Publisher",
        ring: "LogRing | None",
        log: Callable[..., None],
        on_event: "Callable[[int, Event], None]",
        on_end: Callable[[], None],
    ) -> None:
        from fastmesh._core.bridge import Worker

        specs = worker_specs(config)
        self.threads = [Thread(Worker(spec, publisher, ring), spec.number) for spec in specs]
        self._timeout_s = config.workers.heartbeat_timeout_ns / 1e9
        self._log = log
        self._on_event = on_event
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def workers(self) -> "Sequence[Worker]":
        return [thread.worker for thread in self.threads]

    @property
    def stuck(self) -> list[int]:
        """Indexes of workers whose loop stands still."""
        return [thread.index for thread in self.threads if thread.is_stuck]

    @property
    def failed(self) -> dict[int, int]:
        """errno by index of workers that ended without being told."""
        return {thread.index: thread.result for thread in self.threads if thread.result}

    @property
    def running(self) -> int:
        """Workers whose thread has not ended."""
        return sum(thread.result is None for thread in self.threads)

    def start(self) -> None:
        """Starts every thread; called in the running loop, which hears of events and ends."""
        loop = self._loop = asyncio.get_running_loop()
        for thread in self.threads:
            loop.add_reader(thread.worker.event_fd(), self._drain_events, thread)
            thread.start(self._ended)

    async def started(self, timeout_s: float) -> bool:
        """Waits until every loop has turned once; False when one has not in time, or has ended again."""
        end_s = time.monotonic() + timeout_s
        while any(thread.worker.heartbeat()[0] == 0 and thread.result is None for thread in self.threads):
            if time.monotonic() > end_s:
                return False
            await asyncio.sleep(0.002)
        return self.running == len(self.threads)

    def add_listener(self, bound: Bound, index: int) -> None:
        """Gives every worker its descriptor; the core owns them from here."""
        for thread in self.threads:
            fd = bound.fds.pop()
            if not thread.tell(partial(thread.worker.add_listener, fd, index)):
                os.close(fd)
                self._log("error", "worker takes no listener", worker=thread.index, listen=bound.text)

    def remove_listener(self, bound: Bound, index: int) -> None:
        """No worker accepts there any more; connections that were accepted go on."""
        for thread in self.threads:
            thread.tell(partial(thread.worker.remove_listener, index))
        unlink(bound)

    def wake(self) -> None:
        """Every worker looks at what is published now."""
        for thread in self.threads:
            thread.tell(thread.worker.wake)

    def look(self) -> None:
        """Compares heartbeats with those of the call before; reports workers that stand still or go on again."""
        now_s = time.monotonic()
        for thread in self.threads:
            if thread.look(now_s, self._timeout_s):
                if thread.is_stuck:
                    self._log("error", "worker stands still", worker=thread.index, seconds=now_s - thread.moved_s)
                else:
                    self._log("warning", "worker goes on", worker=thread.index)

    def drain(self) -> None:
        """Workers close listeners and idle connections, finish what is under way, and end."""
        for thread in self.threads:
            thread.tell(thread.worker.drain)

    def stop(self) -> None:
        """Workers close everything now and end."""
        for thread in self.threads:
            thread.tell(thread.worker.stop)

    def join(self, timeout_s: float) -> bool:
        """Waits for the threads; False when one is still there. Blocks, so call it when the loop has nothing to do."""
        end_s = time.monotonic() + timeout_s
        for thread in self.threads:
            if thread.thread.ident is not None:  # was started
                thread.thread.join(max(0.0, end_s - time.monotonic()))
        return not any(thread.thread.is_alive() for thread in self.threads)

    def close(self) -> None:
        """The loop hears no more of the workers."""
        if self._loop is not None:
            for thread in self.threads:
                self._loop.remove_reader(thread.worker.event_fd())

    def _drain_events(self, thread: Thread) -> None:
        try:
            os.eventfd_read(thread.worker.event_fd())
        except BlockingIOError:
            pass
        for event in thread.worker.events():
            self._on_event(thread.index, event)

    def _ended(self) -> None:
        """In the worker's own thread."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._on_end)
        except RuntimeError:
            pass  # the loop is closed: the process is on its way out


def worker_specs(config: Config) -> list[WorkerSpec]:
    """Sizes of every worker; with pinning worker i gets the i-th CPU this process may use, in a circle."""
    cpus = sorted(os.sched_getaffinity(0))
    sizes = config.workers
    return [
        WorkerSpec(
            number=index,
            connections=config.connection_slots,
            exchanges=config.exchange_slots,
            buffers=sizes.buffers,
            large_buffers=sizes.large_buffers,
            endpoint_slots=sizes.endpoint_slots,
            meter_blocks=sizes.meter_blocks,
            log_ring_bytes=config.access_log.ring_bytes,
            cpu=cpus[index % len(cpus)] if sizes.pin else -1,
        )
        for index in range(sizes.count)
    ]


def settle_memory() -> None:
    """What start-up made and dropped is given back: from here on the process only waits."""
    from fastmesh._core import bridge

    gc.collect()
    bridge.trim()
