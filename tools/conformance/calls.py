"""grpcurl (all four kinds of call, metadata, errors) and ghz (many calls at once) against grpc-go's server."""

import json
import subprocess
from collections.abc import Callable

from tools.conformance.programs import BIN, CONNECT, module_files
from tools.conformance.running import Server, answers, free_port, front
from tools.conformance.verdicts import Verdicts

SERVICE = "connectrpc.conformance.v1.ConformanceService"
CASE_S = 60
GHZ_CALLS = 5000
DATA = {"responseData": ["AAEC", "AwQF"]}
UNARY = {
    "responseDefinition": {
        "responseHeaders": [{"name": "x-head", "value": ["1", "2"]}],
        "responseData": "AAEC",
        "responseTrailers": [{"name": "x-tail", "value": ["3"]}],
    }
}
FAILING = {"responseDefinition": {"error": {"code": "CODE_RESOURCE_EXHAUSTED", "message": "zu viel \u00fc"}}}


def _run(command: list[str], told: str, wanted: Callable[[str], bool]) -> str:
    """What is wrong; nothing when what it printed is as wanted."""
    try:
        done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=CASE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not done in {CASE_S} s"
    output = done.stdout + done.stderr
    return "" if wanted(output) else output[-2000:].strip() or f"exit status {done.returncode}"


def _grpcurl(address: str, proto: list[str], verdicts: Verdicts) -> None:
    def call(method: str, messages: list[object], wanted: Callable[[str], bool]) -> None:
        command = [
            str(BIN / "grpcurl"), "-plaintext", "-v", "-max-time", "20", *proto, "-H", "x-asked: yes", "-d", "@",
            address, f"{SERVICE}/{method}",
        ]  # fmt: skip
        told = "\n".join(map(json.dumps, messages))
        verdicts.add(f"grpcurl {method} {json.dumps(messages)}", _run(command, told, wanted))

    streamed = {"responseDefinition": DATA}
    call("Unary", [UNARY], lambda out: all(word in out for word in ("AAEC", "x-head", "x-tail", "x-asked")))
    call("Unary", [FAILING], lambda out: "Code: ResourceExhausted" in out and "zu viel \u00fc" in out)
    call("ServerStream", [streamed], lambda out: "AAEC" in out and "AwQF" in out)
    call("ClientStream", [UNARY, {}, {}], lambda out: "AAEC" in out)
    call("BidiStream", [{**streamed, "fullDuplex": True}, {"fullDuplex": True}], lambda out: "AwQF" in out)
    call("Unimplemented", [{}], lambda out: "Code: Unimplemented" in out)


def _ghz(address: str, proto: list[str], verdicts: Verdicts) -> None:
    command = [
        str(BIN / "ghz"), "--insecure", "-n", str(GHZ_CALLS), "-c", "100", "--connections", "4", "-O", "json",
        *(argument.replace("-proto", "--proto").replace("-import-path", "--import-paths") for argument in proto),
        "--call", f"{SERVICE}.Unary", "-d", json.dumps(UNARY), address,
    ]  # fmt: skip

    def wanted(output: str) -> bool:
        try:
            return bool(json.loads(output)["statusCodeDistribution"] == {"OK": GHZ_CALLS})
        except (ValueError, KeyError):
            return False

    verdicts.add(f"ghz, {GHZ_CALLS} calls", _run(command, "", wanted))


def run(through: str) -> Verdicts:
    port = free_port()
    proto = [
        "-import-path", str(module_files(CONNECT) / "proto"), "-proto", "connectrpc/conformance/v1/service.proto",
    ]  # fmt: skip
    request = json.dumps({"protocol": "PROTOCOL_GRPC", "httpVersion": "HTTP_VERSION_2", "messageReceiveLimit": 1 << 20})
    verdicts = Verdicts()
    with (
        Server([str(BIN / "grpcserver"), "-json", "-port", str(port)], lambda _: answers(port), told=request),
        front(f"127.0.0.1:{port}", through) as address,
    ):
        _grpcurl(address, proto, verdicts)
        _ghz(address, proto, verdicts)
    return verdicts
