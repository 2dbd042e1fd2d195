"""A request of an HTTP/1 client reaches an HTTP/2 upstream once."""

from tests.support.client import Client
from tests.support.fastmesh import Fastmesh
from tests.support.http2 import RawOrigin


def test_a_request_is_sent_upstream_once() -> None:
    with RawOrigin() as origin, Fastmesh(upstream=origin.address, upstream_protocol="http2") as proxy:
        with Client(proxy.address) as client:
            for i in range(3):
                assert client.get(f"/{i}").status == 200
            assert proxy.counts().sum("fastmesh_requests_total") == 3
            assert [stream.fields[":path"] for stream in origin.peer().watch.streams.values()] == ["/0", "/1", "/2"]
        origin.drop_connections()
        proxy.wait_pool_empty()
