"""Imports asyncio and uvloop without the TLS library that both load and the Python thread never uses.

OpenSSL behind the `ssl` module is 4.3 MB of resident memory, a sixth of an idle process, and 7 ms of its start. asyncio
knows how to live without `ssl`; uvloop only takes names from it. So for the time of these two imports a stand-in takes
its place, and is removed again: whoever imports `ssl` later gets the real one. A loop made this way cannot speak TLS
itself (`create_connection(ssl=...)`); the core speaks it on its own.
"""

import sys
from types import ModuleType
from typing import Any


class _NoTls(ModuleType):
    """Answers every name uvloop and asyncio take: numbers for constants, an exception class for everything else."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name.isupper() else type(name, (Exception,), {})


def import_loop() -> None:
    """Does nothing more than the ordinary imports when one of the modules is there already."""
    if not {"ssl", "asyncio", "uvloop"} & sys.modules.keys():
        stand_in = _NoTls("ssl")
        sys.modules["ssl"] = stand_in
        try:
            import uvloop  # noqa: F401
        finally:
            if sys.modules.get("ssl") is stand_in:
                del sys.modules["ssl"]
