"""The Python side of the core: typed contract of bridge.pyx.

Every method returns at once and may be called from any Python thread, except `Worker.run` and `LogFlusher.run`, which
release the GIL and return when stopped. Errors raise ValueError (bad spec), MemoryError or OSError.
"""

from fastmesh._core.spec import LogTemplateSpec, SnapshotSpec, WorkerSpec

COUNTERS: tuple[str, ...]  # names of Worker.counters(), in order
GAUGES: tuple[str, ...]  # names of Worker.gauges(), in order
FAULTS: tuple[str, ...]  # cause labels of proxy-made errors, index into Block.faults
LOG_FIELDS: dict[str, int]  # access-log field name -> LogField number
HISTOGRAM_BOUNDS_NS: tuple[int, ...]  # exclusive upper bound of every latency bucket; the last is +Inf (0)
PROFILE: str  # "release" | "debug" | "asan" ...

def trim() -> None:
    """Gives memory that start-up used and freed back to the kernel."""

class Block:
    """One (listener, route) label set of one worker, copied at the moment of the call. Units in names."""

    listener: int
    meter: int
    requests: int
    request_bytes: int  # bytes received from the client for these exchanges, heads included
    response_bytes: int  # bytes sent to the client
    retries: int
    duration_sum_ns: int
    codes: dict[int, int]  # status code -> responses, only those seen
    durations: list[int]  # count per latency bucket, as long as HISTOGRAM_BOUNDS_NS
    faults: list[int]  # per FAULTS
    grpc: list[int]  # gRPC responses by grpc-status 0 to 16; the last: another one or none
    connections: int  # relayed as they are, open or over
    connection_bytes_in: int  # of those, from clients; counted as they move
    connection_bytes_out: int
    connection_ns: int  # how long those that ended lasted, together

class EndpointMeter:
    slot: int
    slot_gen: int
    requests: int
    failures: int  # connect failures + exchanges that failed on the upstream side
    connects: int
    reuses: int
    connect_failures: int
    in_flight: int
    ewma_ns: float
    state: int  # 0 ready, 1 out, 2 probing
    connections: int
    idle: int

class Event:
    """Something the process log should say: rare, bounded, dropped and counted when the ring is full."""

    kind: str  # "endpoint_out", "endpoint_ready", "accept_paused", "listener_failed", ...
    slot: int
    error: int  # errno or 0
    value: int

class Publisher:
    """Holds the current snapshot of all workers; frees an old one when every running worker has left it."""

    def __init__(self, workers: int) -> None: ...
    def publish(self, spec: SnapshotSpec) -> int:
        """Compile and publish; the version. ValueError: the spec is impossible, and the old one stays."""
    def version(self) -> int: ...
    def retired(self) -> int:
        """Old snapshots not yet freed; calling it frees those that can be."""

class LogRing:
    """The access log of all workers: one ring each, one flusher."""

    def __init__(self, workers: int, ring_bytes: int, template: LogTemplateSpec) -> None: ...
    def set_template(self, template: LogTemplateSpec) -> None: ...
    def run(self, fd: int) -> int:
        """Thread body: writes lines to fd in big writes until stop(); 0, or the errno that ended it. GIL released."""
    def stop(self) -> None: ...
    def reopen(self, fd: int) -> None:
        """Write to another fd from now on (log rotation)."""
    def dropped(self) -> int: ...
    def lines(self) -> int: ...

class Worker:
    def __init__(self, spec: WorkerSpec, publisher: Publisher, log: LogRing | None = None) -> None: ...
    def run(self) -> int:
        """Thread body: the event loop. Releases the GIL once; 0 after stop() or a finished drain, else an errno."""
    def add_listener(self, fd: int, listener: int) -> None:
        """Hand over a bound, listening, non-blocking socket; the core closes the fd. `listener`: index 0..31."""
    def remove_listener(self, listener: int) -> None:
        """Stop accepting on it and close it; its connections go on."""
    def drain(self) -> None:
        """Close listeners and idle connections, end busy ones after their exchange; then run() returns."""
    def stop(self) -> None:
        """Close everything now; run() returns 0."""
    def wake(self) -> None:
        """Look at the published snapshot now instead of at the next event."""
    def heartbeat(self) -> tuple[int, int]:
        """(loop turns so far, monotonic ns of the last turn's start)."""
    def counters(self) -> tuple[int, ...]: ...
    def gauges(self) -> tuple[int, ...]: ...
    def blocks(self) -> list[Block]:
        """Only label sets that saw a request or a relayed connection, or refused one."""
    def endpoints(self) -> list[EndpointMeter]:
        """Only slots in use."""
    def events(self) -> list[Event]:
        """Takes what has gathered since the last call."""
    def event_fd(self) -> int:
        """An eventfd that turns readable when events() or a finished drain waits to be read."""
    def drained(self) -> bool: ...
    def balance(self) -> dict[str, int]:
        """Takes and gives of every slab and pool, and fds opened and closed: for leak checks."""
