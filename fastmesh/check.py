"""`fastmesh check`: what is wrong with the configuration and with the machine it is to run on, all of it at once.

Facts about the machine are gathered first, then judged by functions that know only the facts and the configuration.
"""

import json
import os
import platform
import resource
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Literal, NamedTuple

from fastmesh import config as configuration
from fastmesh import workers
from fastmesh.config.model import Address, Config
from fastmesh.config.users import find_user

EXIT_MACHINE = 1
ARCHITECTURES = ("x86_64", "aarch64")
KERNEL_LEAST = (4, 5)  # EPOLLEXCLUSIVE; SO_REUSEPORT is older (3.9)
RESOLVE_TIMEOUT_S = 5.0
RESERVED_FDS = 64  # of the Python half: admin port and its clients, logs, event loop
FDS_PER_WORKER = 8  # epoll, eventfd, timer and what a worker opens for itself
BUFFER_BYTES, LARGE_BUFFER_BYTES = 16 << 10, 256 << 10

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str

    @property
    def line(self) -> str:
        return f"{self.level:<8} {self.subject:<18} {self.text}"


class Machine(NamedTuple):
    """Facts about where the process runs. None: the machine does not say."""

    system: str
    architecture: str
    kernel: tuple[int, ...]
    cpus: int  # this process may use
    cpu_quota: float | None  # CPUs' worth of time the cgroup may use
    fd_limit: int  # hard limit of open files
    somaxconn: int | None
    memory_bytes: int | None  # the cgroup may use, else the machine has available


def facts() -> Machine:
    """What this machine is like."""
    name = os.uname()
    return Machine(
        system=name.sysname,
        architecture=name.machine,
        kernel=_numbers(name.release),
        cpus=len(os.sched_getaffinity(0)),
        cpu_quota=_cpu_quota(_read("/sys/fs/cgroup/cpu.max")),
        fd_limit=_unbounded(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        somaxconn=_number(_read("/proc/sys/net/core/somaxconn")),
        memory_bytes=_memory(_read("/sys/fs/cgroup/memory.max"), _read("/proc/meminfo")),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _numbers(release: str) -> tuple[int, ...]:
    """The numbers a kernel release begins with: "6.1.0-13-amd64" -> (6, 1)."""
    found = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)


def _unbounded(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _cpu_quota(text: str) -> float | None:
    """From cgroup v2's cpu.max: "QUOTA PERIOD" in us, QUOTA "max" when there is none."""
    quota, _, period = text.strip().partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _memory(cgroup: str, meminfo: str) -> int | None:
    available = next((line.split()[1] for line in meminfo.splitlines() if line.startswith("MemAvailable:")), "")
    amounts = [amount for amount in (_number(cgroup), (_number(available) or 0) << 10) if amount]
    return min(amounts, default=None)


def judge_platform(machine: Machine) -> Iterator[Finding]:
    kernel = ".".join(map(str, machine.kernel))
    shown = f"{machine.system} {kernel} on {machine.architecture}"
    if machine.system != "Linux" or machine.architecture not in ARCHITECTURES:
        yield Finding("error", "platform", f"{shown}; fastmesh runs on Linux on {' and '.join(ARCHITECTURES)}")
    elif machine.kernel < KERNEL_LEAST:
        least = ".".join(map(str, KERNEL_LEAST))
        yield Finding("error", "platform", f"{shown}; fastmesh needs Linux {least} or newer")
    else:
        yield Finding("ok", "platform", f"{shown}, {platform.python_implementation()} {platform.python_version()}")


def judge_core() -> Iterator[Finding]:
    if find_spec("fastmesh._core.bridge") is None:
        yield Finding("error", "compiled core", "not there; install a wheel, or build with 'pip install .'")
    else:
        yield Finding("ok", "compiled core", "there")


def judge_descriptors(config: Config, machine: Machine) -> Iterator[Finding]:
    """fastmesh raises its soft limit to the hard one, so the hard one counts."""
    count = config.workers.count
    fixed = RESERVED_FDS + count * (FDS_PER_WORKER + len(config.listeners))
    wanted = fixed + count * config.sockets
    has = f"the hard limit of open files is {machine.fd_limit}"
    if machine.fd_limit >= wanted:
        yield Finding("ok", "file descriptors", f"{machine.fd_limit} allowed, {wanted} needed")
    elif machine.fd_limit < fixed + 2 * count:
        yield Finding("error", "file descriptors", f"{has}; not one request could be served, {wanted} are needed")
    else:
        each = (machine.fd_limit - fixed) // (2 * count)
        rule = f"raise it to {wanted} (ulimit -Hn {wanted}, LimitNOFILE=), or set FASTMESH_MAX_CONNECTIONS={each}"
        yield Finding("warning", "file descriptors", f"{has}, enough for {each} connections per worker; {rule}")


def judge_cpus(config: Config, machine: Machine) -> Iterator[Finding]:
    count, cpus = config.workers.count, machine.cpus
    noun = "worker" if count == 1 else "workers"
    if count > cpus:
        rest = "; pinned workers would share CPUs" if config.workers.pin else ""
        yield Finding("warning", "workers", f"{count} {noun} on {cpus} usable CPUs gain nothing{rest}")
    elif machine.cpu_quota is not None and count > max(1, machine.cpu_quota):
        rule = f"{count} {noun} and a cgroup that allows {machine.cpu_quota:g} CPUs: throttled"
        yield Finding("warning", "workers", rule)
    else:
        yield Finding("ok", "workers", f"{count} {noun}, {cpus} usable CPUs")


def judge_memory(config: Config, machine: Machine) -> Iterator[Finding]:
    sizes = config.workers
    most = sizes.count * (sizes.buffers * BUFFER_BYTES + sizes.large_buffers * LARGE_BUFFER_BYTES)
    shown = f"buffers use at most {most >> 20} MiB"
    if machine.memory_bytes is not None and most > machine.memory_bytes:
        has = f"and {machine.memory_bytes >> 20} MiB are there"
        yield Finding("warning", "memory", f"{shown} {has}; set FASTMESH_BUFFERS or FASTMESH_LARGE_BUFFERS lower")
    else:
        yield Finding("ok", "memory", shown)


def judge_backlog(config: Config, machine: Machine) -> Iterator[Finding]:
    backlog = config.process.backlog
    if machine.somaxconn is not None and machine.somaxconn < backlog:
        rule = f"sysctl net.core.somaxconn={backlog}, or set FASTMESH_BACKLOG lower"
        yield Finding("warning", "backlog", f"{backlog} is cut to {machine.somaxconn} by the kernel; {rule}")
    else:
        yield Finding("ok", "backlog", str(backlog))


def judge_meters(config: Config) -> Iterator[Finding]:
    pairs = len(config.listeners) * len(config.routes)
    if pairs >= config.workers.meter_blocks:
        rule = f"set FASTMESH_METER_BLOCKS above {pairs}"
        yield Finding("warning", "metrics", f"{pairs} pairs of listener and route do not all get series; {rule}")


def judge_addresses(config: Config) -> Iterator[Finding]:
    """Binds every address as a start would, all at once, and lets go of them."""
    named = [(f"listener {each.name}", each.address, each.role == "tproxy") for each in config.listeners]
    if config.admin is not None:
        named.append(("admin", config.admin, False))
    bound = []
    try:
        for subject, address, tproxy in named:
            try:
                bound.append(workers.bind(address, 1, config.process.backlog, tproxy=tproxy))
            except workers.BindError as error:
                yield Finding("error", subject, str(error))
            else:
                yield Finding("ok", subject, f"{address.text} is free")
    finally:
        for each in bound:
            workers.release(each)


Resolve = Callable[[Address], None]


def resolve(address: Address) -> None:
    """Looks the host up; OSError when it has no address."""
    socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)


def judge_upstreams(
    config: Config, look_up: Resolve = resolve, timeout_s: float = RESOLVE_TIMEOUT_S
) -> Iterator[Finding]:
    """Resolves every host name, all at the same time; looks for the files of Unix sockets."""
    asked = []
    for backend in config.backends:
        subject = f"backend {backend.name}"
        for address in (endpoint.address for endpoint in backend.endpoints):
            if address.kind == "name":
                asked.append((subject, _Question(address, look_up)))
            elif address.kind == "unix" and not _is_socket(address.path):
                yield Finding("warning", subject, f"{address.text} is not there, or no socket")
    for subject, question in asked:
        yield question.answer(subject, timeout_s)
    if config.backends and not asked:
        total = sum(len(backend.endpoints) for backend in config.backends)
        yield Finding("ok", "endpoints", f"{total}, no name to resolve")


class _Question:
    """A look-up on a thread of its own: getaddrinfo(3) cannot be given a deadline."""

    def __init__(self, address: Address, look_up: Resolve) -> None:
        self._address = address
        self._look_up = look_up
        self._error = ""
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._look_up(self._address)
        except (OSError, UnicodeError) as error:
            self._error = getattr(error, "strerror", None) or str(error)

    def answer(self, subject: str, timeout_s: float) -> Finding:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return Finding("error", subject, f"{self._address.host} cannot be resolved: no answer in {timeout_s:g} s")
        if self._error:
            return Finding("error", subject, f"{self._address.host} cannot be resolved: {self._error}")
        return Finding("ok", subject, f"{self._address.host} can be resolved")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def judge_user(config: Config) -> Iterator[Finding]:
    if not config.process.user:
        return
    try:
        user = find_user(config.process.user)
    except ValueError as error:
        yield Finding("error", "user", str(error))
        return
    if os.geteuid() not in (0, user.uid):
        yield Finding("error", "user", f"{config.process.user} can be become by root only, or be who starts fastmesh")
    else:
        yield Finding("ok", "user", f"{config.process.user} is uid {user.uid}, gid {user.gid}")


def judge_access_log(config: Config) -> Iterator[Finding]:
    path = config.access_log.path
    if not config.access_log.is_on or path == "-":
        return
    directory = os.path.dirname(path) or "."
    exists = os.path.exists(path)
    if os.path.isdir(path) or not os.access(path if exists else directory, os.W_OK):
        yield Finding("error", "access log", f"{path} cannot be written")
    else:
        yield Finding("ok", "access log", f"{path} can be written")


def judge(config: Config, machine: Machine) -> Iterator[Finding]:
    """Everything about the machine, in the order it is printed."""
    yield from judge_platform(machine)
    yield from judge_core()
    yield from judge_descriptors(config, machine)
    yield from judge_cpus(config, machine)
    yield from judge_memory(config, machine)
    yield from judge_backlog(config, machine)
    yield from judge_meters(config)
    yield from judge_addresses(config)
    yield from judge_upstreams(config)
    yield from judge_user(config)
    yield from judge_access_log(config)


def run(environ: Mapping[str, str]) -> int:
    """Prints findings, and the report of the configuration's problems to standard error.

    Answers 64 when the configuration has problems, else 1 when the machine has an error, else 0. With problems the
    machine is judged by defaults where values are wrong.
    """
    config, problems = configuration.inspect(environ)
    findings = list(judge(config, facts()))
    if not problems:
        findings.insert(0, Finding("ok", "configuration", config.file or "environment"))
    sys.stdout.write("".join(f"{finding.line}\n" for finding in findings))
    if problems:
        sys.stdout.flush()
        sys.stderr.write(configuration.report(problems) + "\n")
        return configuration.EXIT_CONFIG
    return EXIT_MACHINE if any(finding.level == "error" for finding in findings) else 0


def print_schema() -> int:
    """Prints the JSON schema of the configuration file."""
    sys.stdout.write(json.dumps(configuration.schema(), indent=2) + "\n")
    return 0
