"""The endpoints a process chooses of many: what may change them, who joins for whom, how many processes spread."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.model import Address, Backend, Endpoint, Upstream
from fastmesh.discovery.subset import BACK_S, OUT_S, Subsets, choose, score

SALTS = st.integers(0, 2**64 - 1)
ADDRESSES = st.integers(0, 300).map("10.0.0.1:{}".format)
TARGETS = st.dictionaries(ADDRESSES, st.integers(1, 1000), min_size=1)
SIZES = st.integers(1, 40)
NOBODY: frozenset[str] = frozenset()


def chosen(targets: dict[str, int], size: int, salt: int, out: frozenset[str] = NOBODY) -> dict[str, int]:
    return choose(targets, size, salt, out.__contains__)


def ranked(targets: dict[str, int], salt: int) -> list[str]:
    return sorted(targets, key=lambda address: score(address, salt))


@given(TARGETS, SIZES, SALTS)
def test_it_is_so_many_of_them_in_their_order_with_their_weights(targets: dict[str, int], size: int, salt: int) -> None:
    found = chosen(targets, size, salt)
    assert len(found) == min(size, len(targets))
    assert list(found.items()) == [item for item in targets.items() if item[0] in found]


@given(TARGETS, SIZES, SALTS, ADDRESSES)
def test_one_that_comes_or_goes_changes_its_own_place_alone(
    targets: dict[str, int], size: int, salt: int, address: str
) -> None:
    there = chosen(targets | {address: 1}, size, salt)
    gone = chosen({name: weight for name, weight in targets.items() if name != address}, size, salt)
    if address not in there:
        assert gone == there
    else:
        assert there.keys() - gone.keys() == {address}
        assert len(gone.keys() - there.keys()) <= 1


@given(TARGETS, SIZES, SALTS, st.frozensets(ADDRESSES))
def test_the_next_in_rank_join_for_those_that_are_out(
    targets: dict[str, int], size: int, salt: int, out: frozenset[str]
) -> None:
    found = chosen(targets, size, salt, out)
    order = ranked(targets, salt)
    assert set(order[: len(found)]) == found.keys()
    if 2 * len(out & set(order[:size])) > size:
        assert found == targets
    else:
        assert len(found.keys() - out) == size or found == targets
        assert found == targets or order[len(found) - 1] not in out, "nobody joins for one that is not chosen"


def test_many_processes_spread_evenly() -> None:
    targets = {f"10.0.{i}.1:80": 1 for i in range(200)}
    processes = 2000
    counts = Counter(address for salt in range(processes) for address in chosen(targets, 20, salt * 7919))
    # 200 of 2,000 expected for each, a standard deviation is 13.4: six of them for one of 200 are a chance of 1e-7.
    assert len(counts) == 200
    assert all(120 < count < 280 for count in counts.values())


def test_processes_choose_independently() -> None:
    targets = {f"10.0.{i}.1:80": 1 for i in range(200)}
    sets = [chosen(targets, 20, salt).keys() for salt in range(1000)]
    shared = Counter(len(one & other) for one, other in pairwise(sets))
    mean = sum(n * count for n, count in shared.items()) / 999
    assert 1.7 < mean < 2.3  # two expected; a standard deviation of the mean is 0.04
    assert max(shared) <= 12


def backend(name: str, size: int) -> Backend:
    return Backend(name, (Endpoint(Address("inet", "10.0.0.1", 80)),), Upstream(subset=size))


def test_a_backend_without_a_subset_or_of_few_endpoints_is_used_whole() -> None:
    subsets = Subsets()
    targets = {"all": {"10.0.0.1:80": 1, "10.0.0.2:80": 1}, "few": {"10.0.0.3:80": 2}, "unknown": {"10.0.0.4:80": 1}}
    assert subsets.choose([backend("all", 0), backend("few", 1), backend("unresolved", 1)], targets) == targets
    assert not subsets.is_choosing
    assert not subsets.look({("all", "10.0.0.1:80")}, 0.0)
    assert not subsets.look({("all", "10.0.0.1:80")}, OUT_S), "who is out there is nobody's matter"


def test_one_that_stays_out_is_joined_and_left_alone_again_when_it_is_back() -> None:
    subsets = Subsets()
    targets = {"b": {f"10.0.0.{i}:80": 1 for i in range(10)}}
    rule = [backend("b", 4)]
    first = subsets.choose(rule, targets)["b"]
    assert subsets.is_choosing
    out = {("b", next(iter(first)))}
    assert not subsets.look(out, 0.0), "one refused connect"
    assert subsets.look(out, OUT_S)
    joined = subsets.choose(rule, targets)["b"]
    assert first.keys() < joined.keys()
    assert len(joined) == 5
    assert subsets.choose(rule, targets, widen=False)["b"] == first
    assert not subsets.look(out, OUT_S + 1)
    assert not subsets.look(set(), OUT_S + BACK_S), "one that comes and goes is not back yet"
    assert subsets.look(set(), OUT_S + BACK_S + 1)
    assert subsets.choose(rule, targets)["b"] == first
