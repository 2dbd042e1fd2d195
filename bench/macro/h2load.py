"""h2load (nghttp2) as closed-loop client, HTTP/2 by prior knowledge: so many connections with so many streams each."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME = r"([\d.]+)(us|ms|s)"


@dataclass(frozen=True)
class Load:
    requests: int
    seconds: float
    mean_ms: float
    body_bytes: int  # of all answers

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def of_size(self, size: int, in_flight: int) -> bool:
        """Whether all answers had so many bytes; so many more had begun when the time was over."""
        return self.requests * size <= self.body_bytes <= (self.requests + in_flight) * size


def _found(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"nothing like {pattern} in what h2load said:\n{text}")
    return match


def _seconds(number: str, unit: str) -> float:
    return float(number) * _UNITS_S[unit]


def parsed(text: str) -> Load:
    """Raises RuntimeError when any answer was not 2xx, a stream or connection failed, or nothing was answered."""
    done, failed, errored, late = _found(
        r"^requests: .* (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text
    ).groups()
    others = _found(r"^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()
    if any(map(int, (failed, errored, late, *others))) or not int(done):
        raise RuntimeError(f"failed answers:\n{text}")
    return Load(
        requests=int(done),
        seconds=_seconds(*_found(rf"^finished in {_TIME},", text).groups()),
        mean_ms=_seconds(*_found(rf"^time for request: +\S+ +\S+ +{_TIME}", text).groups()) * 1e3,
        body_bytes=int(_found(r"^traffic: .* \((\d+)\) data", text)[1]),
    )


def run(port: int, *, core: int, connections: int, streams: int, size: int, seconds: int = 0, requests: int = 0,
        path: str = "/", host: str = "127.0.0.1", headers: tuple[str, ...] = (), data: Path | None = None) -> Load:
    """For so many seconds, or exactly so many requests; `data` is posted with each, `size` is the bytes of an answer.

    Raises RuntimeError when an answer failed or was not of that size: such a run measures something else.
    """
    command = ["taskset", "-c", str(core), "h2load", "-t1", f"-c{connections}", f"-m{streams}"]
    command += [f"-n{requests}"] if requests else [f"-D{seconds}"]
    for header in headers:
        command += ["-H", header]
    if data is not None:
        command += ["-d", str(data)]
    command.append(f"http://{host}:{port}{path}")
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=max(seconds, 240) + 30).stdout
    load = parsed(text)
    if not load.of_size(size, connections * streams):
        raise RuntimeError(f"answers on port {port} were not of {size} bytes:\n{text}")
    return load
