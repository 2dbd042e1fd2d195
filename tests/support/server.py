"""Real programs as peers: nginx as origin, and running any server until its own pid ends."""

import os
import pathlib
import signal
import subprocess
import tempfile
from types import TracebackType

from tests.support import net
from tests.support.wait import DEADLINE_S, until

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {dir}/pid;
error_log {dir}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 64m;
    keepalive_requests 1000000;
    {http}
}}
"""


def plain_environment() -> dict[str, str]:
    """The environment without what a sanitizer run preloads: other programs are not under test."""
    return {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "PYTHONMALLOC")}


class Nginx:
    """nginx in the foreground in a directory of its own. `http` is the inside of its http block; "LISTEN" in it becomes
    the address. Ended by its pid."""

    def __init__(self, http: str, files: dict[str, bytes] | None = None, host: str = "127.0.0.1") -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="fm-nginx-")
        self.root = pathlib.Path(self._dir.name)
        self.address = f"{host}:{net.free_port()}"
        (self.root / "www").mkdir()
        for name, data in (files or {}).items():
            (self.root / "www" / name).write_bytes(data)
        text = http.replace("LISTEN", self.address).replace("ROOT", str(self.root / "www"))
        (self.root / "nginx.conf").write_text(_NGINX.format(dir=self.root, http=text))
        self.start()

    def start(self) -> None:
        """Starts it (again) on the same address."""
        conf = str(self.root / "nginx.conf")
        self.process = subprocess.Popen(
            ["/usr/sbin/nginx", "-p", str(self.root), "-c", conf, "-e", str(self.root / "error.log")],
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(self._answers, "nginx to listen")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"nginx ended: {(self.root / 'error.log').read_text()}")
        try:
            net.dial(self.address, timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """SIGTERM (fast shutdown: connections end at once), SIGKILL when that is not heard."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.wait(DEADLINE_S)

    def __enter__(self) -> "Nginx":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._dir.cleanup()


class Nghttpd:
    """nghttpd without TLS, one worker. Answers `files`; ended by its pid."""

    def __init__(self, files: dict[str, bytes] | None = None, *options: str) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="fm-nghttpd-")
        self.root = pathlib.Path(self._dir.name)
        for name, data in (files or {}).items():
            (self.root / name).write_bytes(data)
        port = net.free_port()
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(
            ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", str(self.root), *options, str(port)],
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(self._answers, "nghttpd to listen")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"nghttpd ended with {self.process.returncode}")
        try:
            net.dial(self.address, timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)

    def __enter__(self) -> "Nghttpd":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._dir.cleanup()
