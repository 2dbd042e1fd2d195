"""The benchmark's own arithmetic: a wrong figure there would be believed."""

import json
from pathlib import Path

import pytest

from bench.load.origin import SLOW_S, Slowness
from bench.macro import h2load, nghttpd, peer, results
from bench.macro.client import Latency
from bench.macro.measures import MEASURES, Bench
from bench.macro.measures.instructions import by_function
from bench.macro.measures.scale import addresses
from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP1, OVER_HTTP2, OVER_TCP, Setup
from bench.macro.processes import Cores, Cpu
from bench.report.markdown import TITLES, ratio, table


def test_processor_time_is_split_as_the_tick_saw_it_and_exact_in_sum() -> None:
    spent = Cpu(1.03, 3.09, 4.2) - Cpu(1.0, 3.0, 4.1)
    assert spent.total_s == pytest.approx(0.1)
    assert spent.user_s == pytest.approx(0.025)
    assert spent.user_s + spent.system_s == pytest.approx(spent.total_s)
    assert (Cpu(1, 1, 2.001) - Cpu(1, 1, 2)).user_s == 0


def test_percentiles_of_a_histogram() -> None:
    took = Latency(1000, 0, 0, 0, 0.0, 905.0, [(10.0, 500), (20.0, 490), (900.0, 9), (910.0, 1)])
    assert [took.percentile_us(p) for p in (1, 50, 50.1, 99, 99.9, 100)] == [10, 10, 20, 20, 900, 905]


def test_growth_is_a_peer_beside_itself_within_the_round() -> None:
    figures = {0: (10.0, 20.0), 1: (100.0, 150.0), 2: (1.0, 1.1)}
    rows = [
        {"measure": "routes", "round": number, "peer": "nginx", "routes": count, "cpu_us": value}
        for number, values in figures.items()
        for count, value in zip((1, 100), values, strict=True)
    ]
    head, _, one, many = table(rows, "cpu_us")
    assert head.endswith("| cpu_us / nginx | cpu_us / first |")
    assert one.endswith("| - |")
    assert many.endswith("| 1.50 |")


def test_a_ratio_is_taken_within_the_round() -> None:
    figures = {0: (10.0, 20.0), 1: (100.0, 300.0), 2: (1.0, 2.0)}
    rows = [
        {"round": number, "peer": name, "cpu_us": value}
        for number, values in figures.items()
        for name, value in zip(("floor", "nginx"), values, strict=True)
    ]
    assert ratio(rows, "cpu_us", "nginx", "floor") == 2.0
    assert ratio(rows, "cpu_us", "nginx", "envoy") is None
    assert table([{"measure": "cpu", **row} for row in rows], "cpu_us")[3] == "| nginx | 20 (2-300) | 2.00 | 1.00 |"


def test_a_results_file_has_one_row_a_line() -> None:
    result = {"card": {"cpu": "x", "peers": {"a": "1"}}, "rows": [{"peer": "a", "h": [[1, 2]]}, {"peer": "b"}]}
    written = results.text(result)
    assert json.loads(written) == result
    assert '  {"peer": "a", "h": [[1, 2]]},\n' in written


CALLGRIND = """\
fl=(1) a.c
fn=(1) main
5 10
calls=2 7
6 500
+1 3
fn=(2) helper
fi=(2) b.h
7 40
fn=(1)
* 2
cfn=(3) named where it is called
calls=1 9
10 999
fn=(3)
9 4

totals: 59
"""


def test_instructions_count_for_the_function_itself() -> None:
    counted = by_function(CALLGRIND.splitlines(keepends=True))
    assert counted == {"main": 15, "helper": 40, "named where it is called": 4}


def test_endpoints_are_different_addresses_of_one_port() -> None:
    made = addresses("127.0.0.1:9000", 70_000)
    assert len(set(made)) == 70_000
    assert all(address.startswith("127.") and address.endswith(":9000") for address in made)
    assert all(0 < int(part) < 255 for address in made for part in address[4:-5].split(".")[2:])


def test_one_endpoint_is_slow_between_two_times_after_the_first_request() -> None:
    slowness = Slowness(10, 30)
    assert slowness.delay_s(0, 1000.0) < 0.3
    assert slowness.delay_s(0, 1009.9) < 0.3
    assert slowness.delay_s(0, 1010.0) == SLOW_S
    assert slowness.delay_s(1, 1010.0) < 0.3
    assert slowness.delay_s(0, 1030.0) < 0.3


@pytest.mark.parametrize("name", ["nginx", "haproxy", "nghttpx", "fastmesh"])
def test_a_peer_s_config_names_what_the_setup_asks_for(name: str, tmp_path: Path) -> None:
    chosen = peer.load()[name]
    endpoints = ("127.0.0.1:9001", "127.0.0.2:9001")
    launch = chosen.launch(Setup(4143, endpoints, tmp_path, routes=3, balancer=chosen.BALANCERS[-1]))
    assert launch is not None
    (config,) = (path.read_text() for path in tmp_path.iterdir())
    said = (config + " ".join(launch.environment.values())).replace(",9001", ":9001")  # as nghttpx writes a port
    for wanted in (*endpoints, "4143", chosen.BALANCERS[-1], "/route/1", "/route/2"):
        assert wanted in said
    assert "/route/3" not in said


def config_of(name: str, protocols: peer.Protocols, work: Path) -> str:
    work.mkdir()
    assert peer.load()[name].launch(Setup(4143, ("127.0.0.1:9001",), work, protocols=protocols))
    (config,) = (path.read_text() for path in work.iterdir())
    return config


def test_fastmesh_is_told_what_its_upstream_speaks(tmp_path: Path) -> None:
    said = {}
    for protocols in peer.load()["fastmesh"].PROTOCOLS:
        launch = peer.load()["fastmesh"].launch(Setup(4143, ("127.0.0.1:9001",), tmp_path, protocols=protocols))
        assert launch is not None
        said[protocols] = launch.environment.get("FASTMESH_UPSTREAM_PROTOCOL")
        assert (launch.environment.get("FASTMESH_LISTENER_PROTOCOL") == "detect") == (protocols == OVER_TCP)
    assert said == {
        OVER_HTTP1: None, OVER_HTTP2: "http2", OVER_TCP: None, (HTTP1, HTTP2): "http2", (HTTP2, HTTP1): "http1"
    }  # fmt: skip


HTTP2_SAID = {
    "haproxy": ("backlog 4096 proto h2", "127.0.0.1:9001 proto h2"),
    "envoy": ('"codec_type": "HTTP2"', '"http2_protocol_options": {}'),
    "nghttpx": ("", "127.0.0.1,9001;/;proto=h2"),  # its client's side goes by what comes
    "nginx": ("4143 backlog=4096 http2;", ""),
}


@pytest.mark.parametrize("name", HTTP2_SAID)
def test_a_peer_s_config_says_http2_on_the_side_where_it_is_wanted_and_on_no_other(name: str, tmp_path: Path) -> None:
    if name == "envoy":
        pytest.importorskip("envoy", reason="of the bench extra")
    for protocols in peer.load()[name].PROTOCOLS:
        config = config_of(name, protocols, tmp_path / "-".join(protocols).replace("/", ""))
        for said, protocol in zip(HTTP2_SAID[name], protocols, strict=True):
            assert not said or (said in config) == (protocol == HTTP2), (protocols, config)


TCP_SAID = {
    "haproxy": ("mode tcp", "mode http", "http-reuse"),
    "envoy": ("tcp_proxy.v3.TcpProxy", "http_connection_manager"),
    "nginx": ("stream {", "http {"),
}


@pytest.mark.parametrize("name", TCP_SAID)
def test_a_peer_s_config_relays_tcp_where_it_is_wanted_and_only_there(name: str, tmp_path: Path) -> None:
    if name == "envoy":
        pytest.importorskip("envoy", reason="of the bench extra")
    relays, *others = TCP_SAID[name]
    for protocols in peer.load()[name].PROTOCOLS:
        config = config_of(name, protocols, tmp_path / "-".join(protocols).replace("/", ""))
        assert (relays in config) == (protocols == OVER_TCP)
        assert all((other in config) == (protocols != OVER_TCP) for other in others)


def test_a_measure_takes_only_peers_that_can_speak_what_it_needs() -> None:
    known = peer.load()
    bench = Bench(known, 1, 1, Cores(0, 1))
    assert "nghttpx" not in bench.speaking(OVER_HTTP1).peers
    assert "nginx" not in bench.speaking(OVER_HTTP2).peers
    assert "nginx" in bench.speaking((HTTP2, HTTP1)).peers
    assert {"direct", "floor", "haproxy", "nghttpx", "envoy", "fastmesh"} <= set(bench.speaking(OVER_HTTP2).peers)
    assert list(MEASURES["idle"](Bench({"nghttpx": known["nghttpx"]}, 0, 1, Cores(0, 1)))) == []
    assert "direct" not in bench.speaking((HTTP1, HTTP2)).peers


def test_every_measure_has_a_title() -> None:
    assert set(MEASURES) == set(TITLES)


H2LOAD = """\
finished in 1.00s, 219140.00 req/s, 26.96MB/s
requests: 219140 total, 219240 started, 219140 done, 219140 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 219140 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 26.96MB (28270560) total, 2.30MB (2411610) headers (space savings 93.75%), 20.90MB (21914000) data
                     min         max         mean         sd        +/- sd
time for request:       28us      9.78ms       429us       625us    96.52%
time for connect:       60us       151us       111us        28us    60.00%
"""


def test_what_h2load_says_is_read() -> None:
    load = h2load.parsed(H2LOAD)
    assert (load.requests, load.seconds, load.body_bytes) == (219140, 1.0, 21914000)
    assert load.mean_ms == pytest.approx(0.429)
    assert load.per_second == pytest.approx(219140)
    assert h2load.parsed(H2LOAD.replace("finished in 1.00s", "finished in 6.95ms")).seconds == pytest.approx(0.00695)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("0 failed", "1 failed"),
        ("0 errored", "3 errored"),
        ("0 timeout", "2 timeout"),
        ("219140 2xx, 0 3xx", "219139 2xx, 1 3xx"),
        ("0 4xx", "7 4xx"),
        ("0 5xx", "1 5xx"),
        ("219140 done", "0 done"),
        ("requests:", "asked:"),
        ("finished in 1.00s", "finished in ever"),
    ],
)
def test_a_load_of_h2load_with_a_failed_answer_is_refused(good: str, bad: str) -> None:
    assert good in H2LOAD
    with pytest.raises(RuntimeError):
        h2load.parsed(H2LOAD.replace(good, bad))


@pytest.mark.parametrize(("size", "whole"), [(100, True), (101, False), (99, False)])
def test_answers_of_another_size_are_refused(size: int, whole: bool) -> None:
    load = h2load.parsed(H2LOAD)
    assert load.of_size(size, in_flight=100) == whole
    assert h2load.parsed(H2LOAD.replace("(21914000)", "(21914700)")).of_size(100, in_flight=100)


def test_the_call_s_message_is_length_prefixed() -> None:
    assert nghttpd.MESSAGE[0] == 0
    assert int.from_bytes(nghttpd.MESSAGE[1:5], "big") == len(nghttpd.MESSAGE) - 5
