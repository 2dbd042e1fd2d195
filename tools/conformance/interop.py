"""grpc-go's interop client against its interop server, one run of the client a case."""

import subprocess

from tools.conformance.programs import BIN
from tools.conformance.running import Server, answers, free_port, front, port_of
from tools.conformance.verdicts import Verdicts

# Every case of the client that needs neither TLS nor a cloud's credentials. pick_first_unary asks for the name of the
# server, which grpc-go's own interop server does not give: it fails direct.
CASES = (
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
    "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
    "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
    "pick_first_unary", "orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
)  # fmt: skip
CASE_S = 30
_SOAK = ("-soak_iterations", "20", "-soak_num_threads", "4", "-soak_overall_timeout_seconds", "20")
_MAX_LATENCY = ("-soak_per_iteration_max_acceptable_latency_ms", "5000")


def _try(case: str, port: int) -> str:
    """What is wrong; nothing when the case passed."""
    command = [str(BIN / "interop-client"), "-server_host", "127.0.0.1", "-server_port", str(port), "-test_case", case]
    if case.endswith("_soak"):
        command += [*_SOAK, *_MAX_LATENCY]
    if case.startswith("orca_"):
        command += ["-service_config_json", '{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CASE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not done in {CASE_S} s"
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")


def run(through: str) -> Verdicts:
    port = free_port()
    verdicts = Verdicts()
    with (
        Server([str(BIN / "interop-server"), "-port", str(port)], lambda _: answers(port)) as server,
        front(f"127.0.0.1:{port}", through) as address,
    ):
        for case in CASES:
            verdicts.add(case, _try(case, port_of(address)))
        if server.process.poll() is not None:
            raise RuntimeError(f"the interop server ended by itself:\n{server.output()}")
    return verdicts
