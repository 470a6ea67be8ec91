"""Time of comparing the wirings of networks."""

from __future__ import annotations

from typing import NamedTuple

from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array, random_array

from benchmarks._single import measured
from sparse_engine.analysis import distance_matrix, topology_distance


class Case(NamedTuple):
    """So many random square layers; where there are two, how exact their distance is."""

    count: int
    units: int
    links: int
    target: str = "-"
    bound: float = 0.0

    def __str__(self) -> str:
        if self.count > 2:
            return f"{self.count * (self.count - 1) // 2} pairs of {self.units} units"
        return f"{self.units} units, {f'within {self.bound:g}' if self.bound else 'exact'}"

    def layers(self) -> list[list[csr_array]]:
        """Return networks of one layer each."""
        density = self.links / self.units**2
        return [
            [csr_array(random_array((self.units,) * 2, density=density, format="csr", rng=k))]
            for k in range(self.count)
        ]


CASES = [
    Case(10, 784, 3_600, "at most 1 s"),
    Case(2, 20_000, 2_000_000, "at most 60 s"),
    Case(2, 100_000, 2_000_000, bound=1e-3),
]
QUICK = [Case(3, 20, 60), Case(2, 30, 90, bound=1e-3)]


def test_distance(benchmark: BenchmarkFixture, case: Case) -> None:
    """All pairs of small layers, or one pair of large ones."""
    networks = case.layers()

    def run() -> object:
        if case.count > 2:
            return distance_matrix(networks)
        return topology_distance(*networks, bound=case.bound)

    measured(benchmark, run, f"distance, {case}", target=case.target, links=case.links)
