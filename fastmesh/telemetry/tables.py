"""What the core's counters and gauges are called in Prometheus, with their help texts and units.

A number the core counts but this table does not know is shown all the same, under a name made from its own.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """How one number of the core is shown."""

    name: str
    help: str
    scale: float = 1  # factor to the unit the name ends in


COUNTERS: dict[str, Meaning] = {
    "accepted": Meaning("fastmesh_connections_accepted_total", "Client connections accepted."),
    "closed": Meaning("fastmesh_connections_closed_total", "Client connections that ended."),
    "refused": Meaning("fastmesh_connections_refused_total", "Client connections over the limit, answered 503."),
    "accept_failures": Meaning("fastmesh_accept_failures_total", "Accepts that failed: no descriptor or memory."),
    "client_aborts": Meaning("fastmesh_client_aborts_total", "Exchanges whose client went away."),
    "header_timeouts": Meaning("fastmesh_header_timeouts_total", "Connections closed because a head took too long."),
    "idle_closes": Meaning("fastmesh_idle_closes_total", "Keep-alive client connections closed for idleness."),
    "connects": Meaning("fastmesh_worker_connects_total", "Upstream connections begun."),
    "connect_failures": Meaning("fastmesh_worker_connect_failures_total", "Upstream connections that were not made."),
    "reuses": Meaning("fastmesh_worker_reuses_total", "Exchanges sent on a pooled upstream connection."),
    "upstream_closes": Meaning("fastmesh_pool_closed_by_upstream_total", "Pooled connections closed by the upstream."),
    "upstream_evictions": Meaning("fastmesh_pool_evictions_total", "Pooled connections closed by the proxy."),
    "retries": Meaning("fastmesh_worker_retries_total", "Requests sent once more."),
    "tunnels": Meaning("fastmesh_tunnels_total", "Upgraded and CONNECT connections."),
    "tunnel_bytes_in": Meaning("fastmesh_tunnel_received_bytes_total", "Bytes received from clients in tunnels."),
    "tunnel_bytes_out": Meaning("fastmesh_tunnel_sent_bytes_total", "Bytes sent to clients in tunnels."),
    "stale": Meaning("fastmesh_stale_handles_total", "Events and timers whose object was already gone (normal)."),
    "buffers_full": Meaning("fastmesh_buffers_exhausted_total", "Times no buffer was free."),
    "slab_full": Meaning("fastmesh_slab_exhausted_total", "Times no connection or exchange object was free."),
    "events_dropped": Meaning("fastmesh_core_events_dropped_total", "Events for the process log that found no room."),
    "h2_sessions": Meaning("fastmesh_http2_sessions_total", "HTTP/2 connections begun by clients."),
    "h2_upstream_sessions": Meaning("fastmesh_http2_upstream_sessions_total", "HTTP/2 connections begun to upstreams."),
    "h2_streams": Meaning("fastmesh_http2_streams_total", "HTTP/2 streams opened by clients."),
    "h2_upstream_streams": Meaning("fastmesh_http2_upstream_streams_total", "HTTP/2 streams opened to upstreams."),
    "h2_resets_in": Meaning("fastmesh_http2_resets_received_total", "Streams reset by the other side."),
    "h2_resets_out": Meaning("fastmesh_http2_resets_sent_total", "Streams reset by the proxy."),
    "h2_goaways_in": Meaning("fastmesh_http2_goaways_received_total", "GOAWAY frames received."),
    "h2_goaways_out": Meaning("fastmesh_http2_goaways_sent_total", "GOAWAY frames sent."),
    "h2_refused": Meaning("fastmesh_http2_refused_streams_total", "Streams refused by the proxy."),
    "h2_glitches": Meaning("fastmesh_http2_glitches_total", "Suspicious frames received."),
    "h2_floods": Meaning("fastmesh_http2_floods_total", "Connections ended for glitches, floods or rapid resets."),
    "h2_errors": Meaning("fastmesh_http2_protocol_errors_total", "Connections ended for a protocol error."),
    "h2_ping_timeouts": Meaning("fastmesh_http2_ping_timeouts_total", "Connections that left a keep-alive PING open."),
    "tcp_connections": Meaning("fastmesh_worker_tcp_connections_total", "Connections relayed as they are."),
    "tcp_bytes_in": Meaning("fastmesh_worker_tcp_received_bytes_total", "Bytes of relayed connections from clients."),
    "tcp_bytes_out": Meaning("fastmesh_worker_tcp_sent_bytes_total", "Bytes of relayed connections to clients."),
    "detected_http1": Meaning("fastmesh_detected_http1_total", "Connections whose first bytes were HTTP/1."),
    "detected_http2": Meaning("fastmesh_detected_http2_total", "Connections whose first bytes were HTTP/2."),
    "detected_tls": Meaning("fastmesh_detected_tls_total", "Connections whose first bytes were a whole ClientHello."),
    "detected_opaque": Meaning("fastmesh_detected_opaque_total", "Connections whose first bytes were anything else."),
    "detected_server_first": Meaning("fastmesh_detected_server_first_total", "Connections whose server spoke first."),
    "detect_timeouts": Meaning("fastmesh_detect_timeouts_total", "Connections whose first bytes said nothing in time."),
    "early_dials": Meaning("fastmesh_early_dials_total", "Upstream connections begun before the client had spoken."),
    "proxy_headers": Meaning("fastmesh_proxy_headers_total", "PROXY protocol headers of clients that were accepted."),
}

GAUGES: dict[str, Meaning] = {
    "downstream_connections": Meaning("fastmesh_open_connections", "Open client connections."),
    "upstream_connections": Meaning("fastmesh_upstream_open_connections", "Open upstream connections."),
    "upstream_idle": Meaning("fastmesh_upstream_idle_connections", "Pooled upstream connections."),
    "exchanges": Meaning("fastmesh_exchanges_in_flight", "Exchanges under way."),
    "pending": Meaning("fastmesh_exchanges_pending", "Exchanges that wait for an upstream connection."),
    "tunnels": Meaning("fastmesh_open_tunnels", "Open tunnels."),
    "conn_slab": Meaning("fastmesh_slab_objects_in_use", "Connection objects in use."),
    "buffers_small": Meaning("fastmesh_buffers_small_in_use", "Buffers of 16 KiB in use."),
    "buffers_large": Meaning("fastmesh_buffers_large_in_use", "Buffers of 256 KiB in use."),
    "snapshot_version": Meaning("fastmesh_worker_snapshot_version", "Snapshot the worker reads."),
    "turn_ns": Meaning("fastmesh_loop_turn_seconds", "Length of the last loop turn.", 1e-9),
    "turn_max_ns": Meaning("fastmesh_loop_turn_max_seconds", "Longest loop turn so far.", 1e-9),
    "h2_sessions": Meaning("fastmesh_http2_open_connections", "Open HTTP/2 connections, both sides."),
    "h2_streams": Meaning("fastmesh_http2_open_streams", "Open HTTP/2 streams, both sides."),
    "tcp_connections": Meaning("fastmesh_open_tcp_connections", "Connections that are relayed, or were dialled early."),
}


def meaning(core_name: str, table: dict[str, Meaning], counts: bool) -> Meaning:
    """How the core's number of that name is shown; made from the name when the table has none."""
    known = table.get(core_name)
    if known is not None:
        return known
    is_time = core_name.endswith("_ns")
    base = f"{core_name[:-3]}_seconds" if is_time else core_name
    words = core_name.removesuffix("_ns").replace("_", " ")
    return Meaning(f"fastmesh_{base}{'_total' if counts else ''}", f"{words} of the worker.", 1e-9 if is_time else 1)
