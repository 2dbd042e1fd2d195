"""connectconformance: gRPC and gRPC-Web over HTTP/1 and HTTP/2, with the reference peers and with grpc-go's."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.conformance.programs import BIN
from tools.conformance.running import DIRECT
from tools.conformance.verdicts import Verdicts
from tools.source import ROOT

SUITE_S = 300
FEATURES = """
features:
  versions: [{versions}]
  protocols: [{protocols}]
  codecs: [CODEC_PROTO]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
  supportsTls: false
"""
BOTH = "HTTP_VERSION_1, HTTP_VERSION_2"
ALL = "PROTOCOL_GRPC, PROTOCOL_GRPC_WEB"

# Program under test: its role, the HTTP versions and the protocols it is tried with.
SUITES = {
    "referenceserver": ("server", BOTH, ALL),
    "referenceclient": ("client", BOTH, ALL),
    "grpcserver": ("server", "HTTP_VERSION_2", "PROTOCOL_GRPC"),
    "grpcclient": ("client", "HTTP_VERSION_2", "PROTOCOL_GRPC"),
}
_FAILED = re.compile(r"^FAILED: (.*):$")
_PASSED = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def _command(program: str, role: str, through: str) -> list[str]:
    if through == DIRECT:
        return [str(BIN / program)]
    return [sys.executable, "-m", "tools.conformance.shim", role, through, str(BIN / program)]


def parse(output: str) -> Verdicts:
    """The runner names what failed and counts what passed."""
    counted = _PASSED.search(output)
    if counted is None:
        raise RuntimeError(f"connectconformance does not come to its end:\n{output[-4000:]}")
    verdicts = Verdicts(passed=int(counted[1]))
    case = ""
    for line in output[: counted.start()].splitlines():
        if found := _FAILED.match(line):
            case = found[1]
            verdicts.failed[case] = ""
        elif case and line.strip():
            verdicts.failed[case] += line.strip() + "\n"
    return verdicts


def run(program: str, through: str) -> Verdicts:
    role, versions, protocols = SUITES[program]
    with tempfile.TemporaryDirectory(prefix="fm-conformance-") as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(FEATURES.format(versions=versions, protocols=protocols))
        done = subprocess.run(
            [str(BIN / "connectconformance"), "--conf", str(config), "--mode", role, "--",
             *_command(program, role, through)],
            cwd=ROOT, capture_output=True, text=True, timeout=SUITE_S, check=False,
        )  # fmt: skip
    return parse(done.stdout + done.stderr)
