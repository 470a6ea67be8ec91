"""Time of the full balance of a graph."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks._single import measured
from benchmarks.graph.case import graph
from sparse_engine.analysis import structural_balance

# The sizes of a network of 150 units before, and in the middle of, its pruning.
CASES = [(150, 22_500, "at most 30 ms"), (150, 2_779, "at most 1 ms")]
QUICK = [(20, 100, "-")]


def test_balance(benchmark: BenchmarkFixture, case: tuple[int, int, str]) -> None:
    """The time of one."""
    nodes, links, target = case
    w = graph(nodes, links)
    measured(benchmark, lambda: structural_balance(w), f"balance, {links} links", target=target)
