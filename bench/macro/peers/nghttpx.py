"""nghttpx: one worker, no access log, no fields of its own added, timeouts out of the way. For HTTP/2 alone.

Windows of 1 MiB, for long bodies; its own 64 KiB would have it wait for window updates.
"""

import subprocess

from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP2, Launch, Setup

NAME = "nghttpx"
PROTOCOLS = (OVER_HTTP2, (HTTP1, HTTP2), (HTTP2, HTTP1))
BALANCERS = ("",)

CONFIG = """\
frontend={host},{listen};no-tls
{backends}
workers={workers}
rlimit-nofile=65536
log-level=ERROR
errorlog-file={work}/error.log
no-via=yes
no-add-x-forwarded-proto=yes
no-server-rewrite=yes
no-location-rewrite=yes
no-server-push=yes
frontend-http2-read-timeout=5m
frontend-read-timeout=5m
frontend-keep-alive-timeout=5m
backend-read-timeout=5m
backend-keep-alive-timeout=5m
frontend-http2-window-size=1M
frontend-http2-connection-window-size=1M
backend-http2-window-size=1M
"""


def version() -> str:
    done = subprocess.run(["nghttpx", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().rpartition("/")[2]


def launch(setup: Setup) -> Launch | None:
    paths = ":".join(["/", *(f"/route/{i}/" for i in range(1, setup.routes))])
    addresses = (endpoint.replace(":", ",") for endpoint in setup.endpoints)
    config = setup.work / "nghttpx.conf"
    config.write_text(
        CONFIG.format(
            work=setup.work,
            host=setup.host,
            listen=setup.listen,
            workers=setup.workers,
            backends="\n".join(f"backend={address};{paths};proto={setup.protocols[1]}" for address in addresses),
        )
    )
    return Launch(["nghttpx", f"--conf={config}"])
