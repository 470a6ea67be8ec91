"""SET against programs in NumPy and SciPy: the same weights, in float64, with momentum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array

from benchmarks._single import measured
from benchmarks.topology.case import Case
from benchmarks.topology.seeds import (
    DEVIATION,
    Layer,
    cuts,
    evolve_keys,
    evolve_links,
    evolve_records,
)
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import SET, NormalInit, SignedMagnitude

FRACTION = 0.3
CASES = [Case(25_000, links) for links in (100_000, 1_000_000)]
QUICK = [Case(64, 400)]

#: The authors' way with arrays, which the target speaks of, and others.
PROGRAMS = {
    "structured records": evolve_records,
    "64-bit keys": evolve_keys,
    "link by link": evolve_links,
}
TARGETS = {("structured records", 1_000_000): "at least 20 x sparse_engine"}

# With more links, going through them one by one takes many seconds, and says nothing new.
MOST_ONE_BY_ONE = 100_000


class Seed:
    """A layer that a program evolves again and again."""

    def __init__(self, evolve: Callable[..., Layer], layer: Layer) -> None:
        self.evolve = evolve
        self.layer = layer
        self.generator = np.random.default_rng(0)

    def step(self) -> None:
        """One evolution."""
        self.layer = self.evolve(self.layer, FRACTION, self.generator)


@pytest.mark.parametrize("by", ["sparse_engine", *PROGRAMS])
def test_rewiring(benchmark: BenchmarkFixture, case: Case, by: str) -> None:
    """A rewiring by each program, after a check that all drop the same links."""
    if by == "link by link" and case.links > MOST_ONE_BY_ONE:
        pytest.skip("takes many seconds, and says nothing new")
    weight = normal_weight(case)
    optimizer = torch.optim.SGD(weight.parameters(), lr=1e-3, momentum=0.9)
    weight.values.grad = torch.randn_like(weight.values)
    optimizer.step()
    optimizer.zero_grad()
    check(weight)
    velocity = optimizer.state[weight.values]["momentum_buffer"]
    layer = Layer(scipy_matrix(weight, weight.values), scipy_matrix(weight, velocity))
    if by == "sparse_engine":
        options = {"fraction": FRACTION, "every": 1, "new_links": NormalInit(DEVIATION)}
        step = SET(weight, optimizer, **options).step
    else:
        step = (seed := Seed(PROGRAMS[by], layer)).step
    measured(benchmark, step, f"SET, momentum, {case}", target=TARGETS.get((by, case.links)))
    assert by == "sparse_engine" or seed.layer.weights.nnz == weight.nnz


def normal_weight(case: Case) -> SparseWeight:
    """A weight with values as those of new links."""
    weight = case.weight().double()
    torch.nn.init.normal_(weight.values, std=DEVIATION)
    return weight


def scipy_matrix(weight: SparseWeight, values: torch.Tensor) -> csr_array:
    """A copy for SciPy, of one number per link."""
    crow, col = weight.crow_indices.int(), weight.col_indices
    arrays = (each.detach().numpy().copy() for each in (values, col, crow))
    return csr_array(tuple(arrays), shape=weight.shape)


def check(weight: SparseWeight) -> None:
    """Checks that all drop the same links, but for one or two at each cut, which theirs drop.

    Raises:
        AssertionError: they do not.
    """
    values = weight.values.detach().numpy()
    lower, upper = cuts(values, FRACTION)
    theirs = (values >= lower) & (values <= upper)
    ours = SignedMagnitude().drop(weight, FRACTION, RandomKey(0)).numpy()
    differing = np.count_nonzero(ours != theirs)
    assert differing <= 4, f"expected the same links to go, found {differing} that differ"
