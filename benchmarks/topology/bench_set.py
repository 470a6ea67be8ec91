"""SET with Adam's state on 100,000 neurons: the time of a rewiring, and how it grows with links."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks._profile import as_percent, shares
from benchmarks._single import measured
from benchmarks.topology.case import Case, Trained, adam
from sparse_engine.topology import SET

CASES = [Case(100_000, links) for links in (100_000, 1_000_000, 10_000_000, 50_000_000)]
QUICK = [Case(64, 400)]
TARGETS = {10_000_000: "at most 0.3 s"}


def test_rewiring(benchmark: BenchmarkFixture, case: Case) -> None:
    """A rewiring with everything that belongs to it, and the operations that it consists of."""
    weight = case.weight()
    step = SET(weight, adam(weight), every=1, new_links=Trained(weight)).step
    seconds = measured(benchmark, step, f"SET, {case}", target=TARGETS.get(case.links))
    benchmark.extra_info["ns per link"] = 1e9 * seconds / case.links
    benchmark.extra_info["of it"] = as_percent(shares(step))
