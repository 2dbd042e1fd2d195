"""The same worker in a process of its own, so that it can be stopped: all that happens meanwhile reaches it in one turn
of its loop. `python -m tests.support.worker_process` is that process; it speaks JSON lines with its parent."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.wait import DEADLINE_S
from tests.support.worker import LiveWorker, Plan, Report, Watched

_ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess(Watched):
    """Its parent's side. Leaving the context waits for rest and the child's account, which must be in order."""

    def __init__(self, plan: Plan, *, nofile: int = 0) -> None:
        """`nofile`: how many file descriptors the child may have open beyond those its worker starts with."""
        message = json.dumps({"plan": dataclasses.asdict(plan), "nofile": nofile})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker_process", message],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = str(self._read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            if error is None:
                self.settle()
                self.process.stdin.close()
                code = self.process.wait(DEADLINE_S)
                assert code == 0, f"the worker's process ended with {code}"
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(DEADLINE_S)
            self.process.stdin.close()
            self.process.stdout.close()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker's process ended with {self.process.wait(DEADLINE_S)}")
        return json.loads(line)

    def report(self) -> Report:
        assert self.process.stdin is not None
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        report = Report(**self._read())
        by_number = {name: {int(code): n for code, n in getattr(report, name).items()} for name in ("codes", "grpc")}
        return dataclasses.replace(report, **by_number)

    def freeze(self) -> None:
        """Returns once no instruction of it runs any more."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def limit_descriptors(more: int) -> None:
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + more, highest + more))


def main(message: str) -> None:
    wanted = json.loads(message)
    with LiveWorker(Plan(**wanted["plan"])) as worker:
        if wanted["nofile"]:
            limit_descriptors(wanted["nofile"])
        print(json.dumps(worker.address), flush=True)
        for _ in sys.stdin:
            print(json.dumps(dataclasses.asdict(worker.report())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
