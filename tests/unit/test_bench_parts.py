"""The benchmark's own arithmetic: a wrong figure there would be believed."""

import json
from pathlib import Path

import pytest

from bench.load.origin import SLOW_S, Slowness
from bench.macro import peer, results
from bench.macro.client import Latency
from bench.macro.measures.instructions import by_function
from bench.macro.measures.scale import addresses
from bench.macro.peer import Setup
from bench.macro.processes import Cpu
from bench.report.markdown import ratio, table


def test_processor_time_is_split_as_the_tick_saw_it_and_exact_in_sum() -> None:
    spent = Cpu(1.03, 3.09, 4.2) - Cpu(1.0, 3.0, 4.1)
    assert spent.total_s == pytest.approx(0.1)
    assert spent.user_s == pytest.approx(0.025)
    assert spent.user_s + spent.system_s == pytest.approx(spent.total_s)
    assert (Cpu(1, 1, 2.001) - Cpu(1, 1, 2)).user_s == 0


def test_percentiles_of_a_histogram() -> None:
    took = Latency(1000, 0, 0, 0, 0.0, 905.0, [(10.0, 500), (20.0, 490), (900.0, 9), (910.0, 1)])
    assert [took.percentile_us(p) for p in (1, 50, 50.1, 99, 99.9, 100)] == [10, 10, 20, 20, 900, 905]


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


@pytest.mark.parametrize("name", ["nginx", "haproxy", "fastmesh"])
def test_a_peer_s_config_names_what_the_setup_asks_for(name: str, tmp_path: Path) -> None:
    chosen = peer.load()[name]
    endpoints = ("127.0.0.1:9001", "127.0.0.2:9001")
    launch = chosen.launch(Setup(4143, endpoints, tmp_path, routes=3, balancer=chosen.BALANCERS[-1]))
    assert launch is not None
    (config,) = (path.read_text() for path in tmp_path.iterdir())
    said = config + " ".join(launch.environment.values())
    for wanted in (*endpoints, "4143", chosen.BALANCERS[-1], "/route/1", "/route/2"):
        assert wanted in said
    assert "/route/3" not in said
