"""Every seed of the fuzzers, and every input that once broke a law, keeps the laws."""

from pathlib import Path

import pytest

from tests.probe import io_fuzz, wire2_fuzz, wire_fuzz, wire_head2_fuzz, wire_sniff_fuzz, wire_web_fuzz

SEEDS = Path(__file__).resolve().parents[1] / "corpus" / "fuzz"
PROBES = (wire_fuzz, wire2_fuzz, wire_head2_fuzz, wire_sniff_fuzz, wire_web_fuzz, io_fuzz)
RUN = {target: probe.run for probe in PROBES for target in probe.TARGETS}


@pytest.mark.parametrize("target", RUN)
def test_known_inputs(target: str) -> None:
    inputs = sorted((SEEDS / target).iterdir())
    assert inputs
    broken = {path.name: law for path in inputs if (law := RUN[target](target, path.read_bytes()))}
    assert not broken


@pytest.mark.parametrize("target", RUN)
def test_every_cut_of_known_inputs(target: str) -> None:
    for path in sorted((SEEDS / target).iterdir()):
        data = path.read_bytes()
        assert not [cut for cut in range(len(data)) if RUN[target](target, data[:cut])], path.name
