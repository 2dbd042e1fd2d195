"""What the kernel says about this process, under the names every Prometheus client uses (`process_*`, no prefix)."""

import os
import resource
from collections.abc import Iterator

from fastmesh.telemetry.exposition import Family, Kind

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _boot_time_s() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0


def families() -> Iterator[Family]:
    """CPU, memory, file descriptors and start time, read from /proc now. Raises OSError when /proc is not there."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        # The command name may hold spaces and parentheses: fields count from behind the last ")" (proc(5)).
        fields = file.read().rpartition(")")[2].split()
    user, system, threads, start, virtual, resident = (int(fields[i]) for i in (11, 12, 17, 19, 20, 21))
    open_fds = len(os.listdir("/proc/self/fd")) - 1  # without the one that lists
    max_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield _one("process_cpu_seconds_total", "counter", "User and system CPU time.", (user + system) / _TICKS_PER_S)
    yield _one("process_resident_memory_bytes", "gauge", "Resident memory.", resident * _PAGE_BYTES)
    yield _one("process_virtual_memory_bytes", "gauge", "Virtual memory.", virtual)
    yield _one("process_open_fds", "gauge", "Open file descriptors.", open_fds)
    yield _one("process_max_fds", "gauge", "Limit of open file descriptors.", max_fds)
    yield _one("process_threads", "gauge", "Threads.", threads)
    started = _boot_time_s() + start / _TICKS_PER_S
    yield _one("process_start_time_seconds", "gauge", "Start of the process, seconds since 1970 (UTC).", started)


def _one(name: str, kind: Kind, text: str, value: int | float) -> Family:
    return Family(name, kind, text, (("", value),))
