"""Time of annealing a network until it is balanced."""

from __future__ import annotations

from dataclasses import replace

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks._single import measured
from sparse_engine.analysis import Cooling, anneal, signed_network

SEED, LARGE = Cooling(), Cooling(proposals=2_924)
CASES = [
    (150, 1_118, SEED, "at most 0.2 s"),
    (10_000, 100_000, LARGE, "at most 60 s"),
]
QUICK = [(20, 60, replace(SEED, factor=0.5), "-")]


def test_annealing(benchmark: BenchmarkFixture, case: tuple[int, int, Cooling, str]) -> None:
    """An annealing from the hottest to the coldest temperature."""
    nodes, links, cooling, target = case
    w = signed_network(nodes, links / (nodes * (nodes - 1)))
    found = anneal(w, target=1.0, cooling=cooling)
    measured(
        benchmark,
        lambda: anneal(w, target=1.0, cooling=cooling),
        f"annealing, {w.nnz} links",
        target=target,
        proposals=cooling.proposals * len(found.temperatures),
        balance=f"{found.balance[0]:.3f} -> {found.balance[-1]:.3f}",
    )
