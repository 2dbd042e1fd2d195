"""A fastmesh beside a workload in a network namespace, and `fastmesh redirect` there."""

import pathlib
import sys

from tests.support.fastmesh import Fastmesh
from tests.support.metrics import Metrics
from tests.support.netns import ROOT, Namespace
from tests.support.reach import for_everyone

USER = "2102"
ORIGINAL = "(original_dst)"


class Count:
    """What a fastmesh counted since this was made."""

    def __init__(self, proxy: Fastmesh) -> None:
        self.proxy = proxy
        self.before = proxy.counts()

    def __call__(self, name: str, **labels: str) -> int:
        now: Metrics = self.proxy.counts()
        return int(now.sum(name, **labels) - self.before.sum(name, **labels))


def transparent(space: Namespace, folder: pathlib.Path, mode: str = "on", **settings: object) -> Fastmesh:
    return Fastmesh(
        listen=None, admin=f"unix:{folder}/{space.name}", transparent=mode, user=USER, upstream_idle_timeout="300ms",
        detect_timeout="200ms", before=("ip", "netns", "exec", space.name, *for_everyone()), **settings,
    )  # fmt: skip


def redirect(space: Namespace, action: str, *options: str, user: str = USER) -> None:
    variables = {"FASTMESH_USER": user, "PYTHONPATH": str(ROOT)}
    space.run(sys.executable, "-m", "fastmesh", "redirect", action, *options, **variables)
