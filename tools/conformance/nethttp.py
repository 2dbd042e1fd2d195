"""Go's net/http on both sides (the program in `nethttp/`), in every combination of HTTP/1 and HTTP/2."""

import re
import subprocess

from tools.conformance.programs import BIN
from tools.conformance.running import Server, front
from tools.conformance.verdicts import Verdicts

ALL_S = 120
_LISTENS = re.compile(r"listen=(\S+)")


def run(client: str, server: str, through: str) -> Verdicts:
    verdicts = Verdicts()
    with Server([str(BIN / "nethttp"), "serve", server], lambda text: _LISTENS.search(text) is not None) as upstream:
        found = _LISTENS.search(upstream.output())
        assert found is not None
        with front(found[1], through) as address:
            done = subprocess.run(
                [str(BIN / "nethttp"), "ask", client, address],
                capture_output=True, text=True, timeout=ALL_S, check=False,
            )  # fmt: skip
    for line in done.stdout.splitlines():
        case, _, wrong = line.partition("\t")
        verdicts.add(case, wrong)
    if done.returncode:
        verdicts.add("to its end", done.stderr)
    return verdicts
