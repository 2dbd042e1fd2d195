"""The process from its configuration to its exit code.

    start > ready > reload > drain > stop

Everything here runs on the Python thread. Requests do not pass through it.
"""

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import uvloop

import fastmesh
from fastmesh.config import EXIT_CONFIG, Config, ConfigError, load
from fastmesh.config.settings import SETTINGS
from fastmesh.config.users import User, find_user
from fastmesh.config.views import public
from fastmesh.discovery.directory import Directory, Watch, targets_of
from fastmesh.discovery.subset import Subsets
from fastmesh.publish import ListenerKey, Plan, Publication, PublishError, listener_keys
from fastmesh.telemetry.log import ProcessLog
from fastmesh.telemetry.service import Labels, Owner, ProcessState, Telemetry
from fastmesh.workers import BindError, Bound, Pool, bind, release, settle_memory, unlink

if TYPE_CHECKING:
    from fastmesh.admin.http import AdminServer

EXIT_OK = 0
EXIT_FAILED = 1

TICK_S = 1.0  # heartbeats, stalled admin clients, snapshots to free
RESOLVE_WAIT_S = 2.0  # how long start and reload wait for names before they go on without
START_WAIT_S = 5.0  # until every worker's loop has turned once
STOP_S = 2.0  # until workers that were told to stop have ended
SETTLE_S = 0.1  # a changed file must look the same for this long: it may still be being written
SPARE_FDS = 64  # descriptors beside connections: listeners, epoll, files
ADMIN_BACKLOG = 64

State = Literal["starting", "running", "draining", "stopping"]


class Listening(NamedTuple):
    """A listener in use."""

    number: int  # index in the core
    bound: Bound


class StartError(Exception):
    """The process cannot start; the text is for the user."""


def run_process(environ: Mapping[str, str]) -> int:
    """The whole life of the process; its exit code (see `fastmesh.app.run`)."""
    began_ns = time.time_ns()
    try:
        config = load(environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    log = ProcessLog(config.log.level, config.log.json)
    try:
        app = App(config, log, lambda: load(environ), began_ns)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(app.main())
    except (StartError, BindError, PublishError, OSError, MemoryError) as error:
        log.always("error", "cannot start", error=str(error) or type(error).__name__)
        return EXIT_FAILED


class App:
    """One running proxy. `reread` reads the configuration again; `read_ns` is the wall clock before `config` was.

    Raises MemoryError (the workers' memory).
    """

    def __init__(self, config: Config, log: ProcessLog, reread: Callable[[], Config], read_ns: int) -> None:
        self._config = config
        self._log = log
        self._reread = reread
        self._state: State = "starting"
        self._exit_code = EXIT_OK
        self._listening: dict[ListenerKey, Listening] = {}
        self._user: User | None = None  # to become one day
        self._directory = Directory(self._endpoints_changed, log)
        self._subsets = Subsets()
        self._telemetry = telemetry = Telemetry(config, log)
        self._publication = Publication(config)
        publisher = self._publication.publisher
        self._pool = Pool(config, publisher, telemetry.ring, log, telemetry.event, self._worker_ended)
        telemetry.attach(self._pool.workers, self._labels)
        self._admin: AdminServer | None = None
        self._admin_bound: Bound | None = None
        self._tick_task: asyncio.Future[None] | None = None
        self._change_tasks: list[asyncio.Future[None]] = []
        self._loaded_s = read_ns / 1e9
        self._file_seen = self._signature()
        if self._file_seen is not None and self._file_seen[0] >= read_ns:
            self._file_seen = None  # changed while it was read: look again
        self._reloads = self._reload_failures = 0
        self._publish_wanted = False
        self._publish_refusal = ""
        self._drain_wanted = asyncio.Event()
        self._hurry = asyncio.Event()  # a second signal: no more waiting
        self._ended = asyncio.Event()  # no worker runs any more
        self._reload_wanted = asyncio.Event()

    # from start to end

    async def main(self) -> int:
        """The whole life; the exit code. Runs once, on the main thread.

        Raises StartError, BindError, PublishError, OSError or MemoryError when the start fails.
        """
        self._watch_loop()
        start = asyncio.ensure_future(self._start())
        drain = asyncio.ensure_future(self._drain_wanted.wait())
        try:
            await asyncio.wait((start, drain), return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
                await drain
                await self._drain()
            else:
                start.cancel()
                await asyncio.wait((start,))
        finally:
            drain.cancel()
            self._close()
        return self._exit_code

    async def _start(self) -> None:
        config = self._config
        self._user = _user(config)
        self._raise_descriptor_limit(config)
        await self._start_admin(config)
        await self._adopt(config)
        self._telemetry.start()
        self._pool.start()
        if not await self._pool.started(START_WAIT_S):
            why = [f"worker {index}: {os.strerror(number)}" for index, number in self._pool.failed.items()]
            raise StartError(", ".join(why) or "a worker did not start in time")
        self._state = "running"
        self._tick_task = asyncio.ensure_future(self._tick())
        self._change_tasks = [asyncio.ensure_future(work) for work in (self._reload_loop(), self._watch_file())]
        self._say_ready(config)
        settle_memory()

    async def _start_admin(self, config: Config) -> None:
        if config.admin is None:
            return
        from fastmesh.admin.http import AdminServer
        from fastmesh.admin.pages import Pages, Sources

        self._admin_bound = bind(config.admin, 1, ADMIN_BACKLOG)
        sources = Sources(
            not_ready=self._not_ready,
            metrics=lambda: self._telemetry.metrics(self._process_state()),
            config=lambda: public(self._config),
            endpoints=self._telemetry.endpoints,
            drain=lambda: self._want_drain("admin"),
            log_level=lambda: self._log.level,
            set_log_level=self._set_log_level,
        )
        self._admin = AdminServer(Pages(sources).handle, self._log)
        await self._admin.start(self._admin_bound.fds)
        self._admin_bound.fds.clear()

    def _say_ready(self, config: Config) -> None:
        targets = self._directory.targets
        upstream = [address for addresses in targets.values() for address in addresses]
        upstream += [f"{name}(unresolved)" for name, addresses in targets.items() if not addresses]
        self._log.always(
            "info",
            "fastmesh is ready",
            version=fastmesh.__version__,
            listen=",".join(listening.bound.text for listening in self._listening.values()),
            admin="off" if self._admin_bound is None else self._admin_bound.text,
            upstream=",".join(dict.fromkeys(upstream)),
            workers=config.workers.count,
            pid=os.getpid(),
        )

    async def _drain(self) -> None:
        """Lets what is under way finish, within the drain timeout; then cuts the rest."""
        if self._state == "running":
            self._state = "draining"
        timeout_s = self._config.process.drain_timeout_ns / 1e9
        self._log("info", "draining", timeout_s=timeout_s, **self._telemetry.under_way())
        for task in self._change_tasks:
            task.cancel()  # a reload under way must not open listeners again
        for listening in self._listening.values():
            unlink(listening.bound)
        self._pool.drain()
        # Stopping takes a moment too, and the whole must not take longer than the timeout.
        await _first(self._ended.wait(), self._hurry.wait(), timeout_s=timeout_s - min(0.5, timeout_s / 10))
        if not self._ended.is_set():
            self._state = "stopping"
            why = "second signal" if self._hurry.is_set() else "drain timeout"
            self._log("warning", "stopped before everything was finished", why=why, **self._telemetry.under_way())
            self._pool.stop()
            await _first(self._ended.wait(), timeout_s=STOP_S)
        self._log("info", "stopped")

    def _close(self) -> None:
        """Gives back everything, whatever state the start had reached."""
        if self._tick_task is not None:
            self._tick_task.cancel()
        self._directory.close()
        if self._admin is not None:
            self._admin.close()
        if self._admin_bound is not None:
            release(self._admin_bound)
        for listening in self._listening.values():
            unlink(listening.bound)
        self._pool.stop()
        self._pool.join(STOP_S)
        self._pool.close()
        self._telemetry.close()

    def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unexpected)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        loop.add_signal_handler(signal.SIGUSR1, self._telemetry.rotate)

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught: a bug, or a connection that broke at a bad moment. The process goes on."""
        error = context.get("exception")
        where = _where(error) if isinstance(error, BaseException) else ""
        self._log("error", "unexpected", what=context.get("message", ""), error=repr(error), where=where)

    def _on_stop_signal(self, name: str) -> None:
        if self._drain_wanted.is_set():
            self._hurry.set()
        self._want_drain(name)

    def _want_drain(self, why: str) -> None:
        if not self._drain_wanted.is_set():
            self._log("info", "told to end", by=why)
            self._drain_wanted.set()
            if self._state == "running":
                self._state = "draining"  # /ready says so from this moment

    def _raise_descriptor_limit(self, config: Config) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Slots that turn out to be sockets rather than streams must not lack descriptors where they may be had.
        wanted = config.workers.count * config.connection_slots + SPARE_FDS
        needed = config.workers.count * config.sockets + SPARE_FDS
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            # Who asked for so many is warned; the default is an upper bound that many machines do not grant.
            asked = config.sources.get("max_connections", "default") != "default"
            level: Literal["warning", "info"] = "warning" if asked else "info"
            self._log(level, "fewer file descriptors than connections", limit=allowed, wanted=needed)

    # taking over a configuration

    async def _adopt(self, config: Config) -> None:
        """Makes `config` the one in force, or changes nothing and raises BindError, PublishError or OSError."""
        bound: dict[ListenerKey, Bound] = {}
        watches: dict[str, Watch] = {}
        try:
            self._bind_new(config, bound)
            self._drop_privileges(config)  # before names are resolved, which threads do
            interval_s = config.process.resolve_interval_ns / 1e9
            watches = await self._directory.prepare(config.backends, interval_s, RESOLVE_WAIT_S)
            self._switch(config, watches, bound)
        except BaseException:
            self._directory.abandon(watches)
            for new in bound.values():
                release(new)
            raise

    def _bind_new(self, config: Config, bound: dict[ListenerKey, Bound]) -> None:
        own_ports = {listening.bound.port for listening in self._listening.values()}
        for key, listener in listener_keys(config.listeners).items():
            if key not in self._listening:
                bound[key] = bind(
                    listener.address, config.workers.count, config.process.backlog, frozenset(own_ports),
                    listener.role == "tproxy",
                )  # fmt: skip
                own_ports.add(bound[key].port)

    def _drop_privileges(self, config: Config) -> None:
        """Becomes the configured user, once, and tells what a reload will not be able to do."""
        user, self._user = self._user, None
        if user is None:
            return
        from fastmesh.app import privileges

        try:
            privileges.become(user)
        except privileges.PrivilegeError as error:
            raise StartError(str(error)) from None
        self._log("info", "privileges dropped", user=privileges.text_of(user))
        if config.file and not os.access(config.file, os.R_OK):
            self._log("warning", "the user cannot read the configuration, no reload", file=config.file)

    def _switch(self, config: Config, watches: dict[str, Watch], bound: dict[ListenerKey, Bound]) -> None:
        plan = self._commit(config, targets_of(watches))
        for key, new in bound.items():
            self._listening[key] = Listening(plan.listeners.held[key], new)
            self._pool.add_listener(new, plan.listeners.held[key])
        for key in self._listening.keys() - plan.listeners.held.keys():
            gone = self._listening.pop(key)
            self._pool.remove_listener(gone.bound, gone.number)
        self._directory.commit(watches)
        self._config = config
        self._publish_wanted = False
        self._pool.wake()

    def _commit(self, config: Config, targets: Mapping[str, Mapping[str, int]]) -> Plan:
        try:
            plan = self._publication.plan(config, self._subsets.choose(config.backends, targets), targets)
        except PublishError:
            if not self._subsets.is_choosing:
                raise
            # There may not be room for endpoints that join for those that are out.
            chosen = self._subsets.choose(config.backends, targets, widen=False)
            plan = self._publication.plan(config, chosen, targets)
        self._telemetry.before_publish(plan.listeners.renamed, plan.meters.renamed)
        self._publication.commit(plan)
        return plan

    def _endpoints_changed(self) -> None:
        if not self._publish_wanted and self._state == "running":
            asyncio.get_running_loop().call_soon(self._publish)
        self._publish_wanted = True

    def _publish(self) -> None:
        """A snapshot of the same configuration with the endpoints of now; tried again later when the core refuses."""
        if not self._publish_wanted:
            return
        try:
            self._commit(self._config, self._directory.targets)
        except PublishError as error:
            if str(error) != self._publish_refusal:
                self._log("error", "endpoints not published", error=error)
            self._publish_refusal = str(error)
            return
        self._publish_refusal = ""
        self._publish_wanted = False
        self._pool.wake()
        self._log("info", "endpoints changed", snapshot=self._publication.version)

    # reload

    async def _reload_loop(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            try:
                await self._reload()
            except ConfigError as error:
                for problem in error.problems:
                    self._log("error", "configuration problem", **problem._asdict())
                self._refused(f"{len(error.problems)} problems")
            except (BindError, PublishError, OSError, MemoryError) as error:
                self._refused(str(error) or type(error).__name__)

    def _refused(self, why: str) -> None:
        self._reload_failures += 1
        self._log("error", "configuration refused, the old one stays", file=self._config.file, error=why)

    async def _reload(self) -> None:
        read_s = time.time()
        config = self._with_start_only(await asyncio.to_thread(self._reread))
        self._telemetry.check_file(config)
        if self._state != "running":
            return
        await self._adopt(config)
        self._telemetry.apply(config)
        self._reloads += 1
        self._loaded_s = read_s
        listen = ",".join(listening.bound.text for listening in self._listening.values())
        self._log("info", "configuration reloaded", file=config.file, snapshot=self._publication.version, listen=listen)

    def _with_start_only(self, config: Config) -> Config:
        """`config` with the old values of settings that are taken at start only; the log says which differ."""
        for setting in SETTINGS:
            if setting.live or setting.of(config) == setting.of(self._config):
                continue
            self._log("warning", "a change needs a restart", setting=setting.variable)
            part, _, field = setting.field.partition(".")
            old = getattr(self._config, part)
            if field:
                old = replace(getattr(config, part), **{field: getattr(old, field)})
            config = replace(config, **{part: old})
        return config

    async def _watch_file(self) -> None:
        """Asks for a reload when the file is another one or was written to."""
        while True:
            interval_ns = self._config.process.reload_interval_ns
            await asyncio.sleep(interval_ns / 1e9 if interval_ns else TICK_S)
            found = self._signature() if interval_ns else None
            if found is None or found == self._file_seen:
                continue
            while True:
                await asyncio.sleep(SETTLE_S)
                again = self._signature()
                if again == found:
                    break
                found = again
            self._file_seen = found
            self._reload_wanted.set()

    def _signature(self) -> tuple[int, int, int, int] | None:
        """What changes when the file does (links are followed, so a swapped link counts); None: it cannot be seen."""
        try:
            found = os.stat(self._config.file)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_dev, found.st_size

    # what happens meanwhile

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._pool.look()
            self._telemetry.look()
            self._publication.retired()
            if self._state == "running":
                if self._subsets.is_choosing and self._subsets.look(self._telemetry.out(), time.monotonic()):
                    self._publish_wanted = True
                self._publish()
            if self._admin is not None:
                self._admin.sweep()

    def _worker_ended(self) -> None:
        if self._pool.running == 0:
            self._ended.set()
        failed = self._pool.failed
        if self._state == "running" or (failed and self._state != "starting"):
            for index, number in failed.items():
                self._log("error", "worker failed", worker=index, error=os.strerror(number))
            self._exit_code = EXIT_FAILED
            self._want_drain("worker")

    # what the admin port shows

    def _not_ready(self) -> str:
        if self._state != "running":
            return self._state
        stuck = self._pool.stuck
        return f"worker {stuck[0]} stands still" if stuck else ""

    def _set_log_level(self, level: Any) -> None:
        self._log.level = level
        self._log.always("info", "log level set", to=level)

    def _labels(self) -> Labels:
        published = self._publication
        owners = {slot: Owner(*owner) for slot, owner in published.slot_owners.items()}
        return Labels(published.listener_names, published.meter_names, owners)

    def _process_state(self) -> ProcessState:
        return ProcessState(
            ready=not self._not_ready(),
            draining=self._state in ("draining", "stopping"),
            version=self._publication.version,
            retired=self._publication.retired(),
            reloads=self._reloads,
            reload_failures=self._reload_failures,
            loaded_s=self._loaded_s,
            stuck=len(self._pool.stuck),
            resolve_failures=self._directory.failures,
        )


def _user(config: Config) -> User | None:
    """Whom the process becomes once it listens; None: it stays who it is. Raises StartError."""
    if not config.process.user:
        return None
    try:
        return find_user(config.process.user)
    except ValueError as error:
        raise StartError(f"FASTMESH_USER={config.process.user}: {error}") from None


def _where(error: BaseException) -> str:
    """File and line an exception came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""


async def _first(*waits: Any, timeout_s: float) -> None:
    """Until one of them is done or time is up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
