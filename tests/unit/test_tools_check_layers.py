"""tools/check_layers refuses every arrow that does not point down."""

import pytest

from tools.check_layers import check_cimports, check_imports, cycles


def core(*modules: tuple[str, str]) -> list[str]:
    sources = {f"{name}.pyx": (f"fastmesh._core.{name}", text) for name, text in modules}
    return [finding.text for finding in check_cimports(sources)]


def python(module: str, text: str, package: str | None = None) -> list[str]:
    sources = {"x.py": (module, package or module.rpartition(".")[0], text)}
    return [finding.text for finding in check_imports(sources)]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("wire.http1_head", "from fastmesh._core.base.types cimport u8, u16"),
        ("io.worker", "from fastmesh._core.base.clock cimport clock_now"),
        ("io.relay", "from fastmesh._core.ffi.linux cimport sys_read"),
        ("io.relay", "from fastmesh._core.io.exchange cimport Exchange"),
        ("base.slab", "from fastmesh._core.ffi.linux cimport sys_reserve"),
        ("bridge", "from fastmesh._core.io.worker cimport (\n    Worker,\n    worker_run,\n)"),
        ("routing.router", "from fastmesh._core.wire cimport headers"),
        ("wire.chunked", "from libc.string cimport memcpy"),
        ("wire.chunked", "# from fastmesh._core.io.worker cimport Worker"),
    ],
)
def test_lawful_cimport(module: str, text: str) -> None:
    assert core((module, text)) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("base.slab", "from fastmesh._core.wire.headers cimport Field"),
        ("wire.headers", "from fastmesh._core.routing.router cimport router_match"),
        ("routing.router", "from fastmesh._core.io.worker cimport Worker"),
        ("io.worker", "from fastmesh._core cimport bridge"),
        ("io.worker", "cimport fastmesh._core.bridge as b"),
        ("wire.headers", "from fastmesh._core cimport io"),
        ("wire.headers", "from ..io.worker cimport Worker"),
        ("routing.router", "from fastmesh._core.base.types cimport u8\nfrom fastmesh._core.io.x cimport (\n    W,\n)"),
        ("wire.headers", "from fastmesh._core.ffi.linux cimport sys_read"),
        ("routing.balancer", "from fastmesh._core.base.clock cimport clock_now"),
        ("io.exchange", "from fastmesh._core.base cimport clock"),
        ("wire.headers", "from posix.unistd cimport read"),
        ("routing.ewma", "from libc.time cimport time"),
        ("wire.headers", "from fastmesh._core.extra.thing cimport x"),
    ],
)
def test_unlawful_cimport(module: str, text: str) -> None:
    assert len(core((module, text))) == 1


def test_cycle_inside_a_layer() -> None:
    there = ("io.relay", "from fastmesh._core.io.exchange cimport Exchange, exchange_end")
    back = ("io.exchange", "from fastmesh._core.io.relay cimport RELAY_MAX, relay_start")
    types_back = ("io.exchange", "from fastmesh._core.io.relay cimport RELAY_MAX, Relay")
    assert core(there) == []
    assert core(there, types_back) == []
    assert core(there, back) == ["a cycle of cimports"]
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c", "a"]]
    assert cycles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("fastmesh.cli", "from fastmesh import app, __version__"),
        ("fastmesh.app", "from fastmesh.admin.server import Server\nfrom fastmesh.publish import Publisher"),
        ("fastmesh.admin.server", "from fastmesh.admin.pages import page\nfrom .pages import other\nimport asyncio"),
        ("fastmesh.admin.server", "from ..config.model import Config"),
        ("fastmesh.workers", "from fastmesh._core.bridge import Worker"),
        ("fastmesh.__main__", "from fastmesh.cli import main"),
        ("fastmesh._core.spec", "from typing import NamedTuple"),
    ],
)
def test_lawful_import(module: str, text: str) -> None:
    assert python(module, text) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("fastmesh.config.model", "from fastmesh.publish import Publisher"),
        ("fastmesh.admin.server", "from fastmesh.telemetry import meters"),
        ("fastmesh.admin.server", "def f():\n    from fastmesh import telemetry"),
        ("fastmesh.admin.server", "from ..workers import Workers"),
        ("fastmesh.publish", "import fastmesh.app"),
        ("fastmesh.app", "from fastmesh import cli"),
        ("fastmesh.app", "from fastmesh._core.bridge import Worker"),
        ("fastmesh.config.model", "from fastmesh._core import spec"),
        ("fastmesh._core.spec", "from fastmesh.config import model"),
        ("fastmesh", "from fastmesh.app import run"),
        ("fastmesh.helpers", "import os"),
    ],
)
def test_unlawful_import(module: str, text: str) -> None:
    assert len(python(module, text)) == 1


def test_relative_import_in_a_package_itself() -> None:
    assert python("fastmesh.admin", "from .server import Server\nfrom ..config import model", "fastmesh.admin") == []
    assert len(python("fastmesh.admin", "from ..telemetry import meters", "fastmesh.admin")) == 1
