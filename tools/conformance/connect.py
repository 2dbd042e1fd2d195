"""connectconformance: Connect, gRPC, gRPC-Web over HTTP/1 and HTTP/2, with the reference peers and with grpc-go's."""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.conformance.programs import BIN
from tools.conformance.running import BRIDGED, DIRECT
from tools.conformance.verdicts import Verdicts
from tools.source import ROOT

SUITE_S = 300
FEATURES = """
features:
  versions: [{versions}]
  protocols: [{protocols}]
  codecs: [CODEC_PROTO]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
  streamTypes: [{streams}]
  supportsTls: false
  supportsHalfDuplexBidiOverHttp1: {half_duplex}
"""
STREAMS = "STREAM_TYPE_UNARY, STREAM_TYPE_CLIENT_STREAM, STREAM_TYPE_SERVER_STREAM, STREAM_TYPE_HALF_DUPLEX_BIDI_STREAM"
FULL_DUPLEX = "STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM"


@dataclass(frozen=True)
class Suite:
    program: str  # under test
    role: str  # of that program
    versions: str  # of HTTP that it is tried with
    protocols: str
    through: str = "auto"  # what fastmesh speaks to the upstream: another version than the client's is a translation
    streams: str = f"{STREAMS}, {FULL_DUPLEX}"


BOTH = "HTTP_VERSION_1, HTTP_VERSION_2"
WEB = "PROTOCOL_CONNECT, PROTOCOL_GRPC_WEB"  # gRPC itself has HTTP/2 alone
ALL = f"{WEB}, PROTOCOL_GRPC"
SUITES = {
    "referenceserver": Suite("referenceserver", "server", BOTH, ALL),
    "referenceclient": Suite("referenceclient", "client", BOTH, ALL),
    "grpcserver": Suite("grpcserver", "server", "HTTP_VERSION_2", "PROTOCOL_GRPC"),
    "grpcclient": Suite("grpcclient", "client", "HTTP_VERSION_2", "PROTOCOL_GRPC"),
    # Direct it translates gRPC-Web by itself; behind fastmesh it is told to speak gRPC, and fastmesh translates.
    "grpcserver, gRPC-Web > gRPC": Suite("grpcserver", "server", BOTH, "PROTOCOL_GRPC_WEB", BRIDGED),
    "referenceserver, HTTP/1 > HTTP/2": Suite("referenceserver", "server", "HTTP_VERSION_1", WEB, "http2", STREAMS),
    "referenceserver, HTTP/2 > HTTP/1": Suite("referenceserver", "server", "HTTP_VERSION_2", WEB, "http1", STREAMS),
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


def run(name: str, through: str) -> Verdicts:
    suite = SUITES[name]
    with tempfile.TemporaryDirectory(prefix="fm-conformance-") as folder:
        config = Path(folder) / "config.yaml"
        half_duplex = str(suite.program.startswith("reference")).lower()
        config.write_text(FEATURES.format(
            versions=suite.versions, protocols=suite.protocols, streams=suite.streams, half_duplex=half_duplex,
        ))  # fmt: skip
        done = subprocess.run(
            [str(BIN / "connectconformance"), "--conf", str(config), "--mode", suite.role, "--",
             *_command(suite.program, suite.role, through)],
            cwd=ROOT, capture_output=True, text=True, timeout=SUITE_S, check=False,
        )  # fmt: skip
    return parse(done.stdout + done.stderr)
