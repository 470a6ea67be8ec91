"""Sizes of single operations, and what they have to load."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks._bandwidth import load_rate
from sparse_engine.nn import SparseWeight


class Size(NamedTuple):
    """A square weight, and the columns of what it is multiplied by."""

    neurons: int
    density: float
    columns: int

    def __str__(self) -> str:
        return f"n={self.neurons}, {self.density:.1%}, B={self.columns}"

    def weight(self) -> SparseWeight:
        """Return a random weight that needs no gradient."""
        weight = SparseWeight.erdos_renyi(self.neurons, self.neurons, density=self.density)
        return weight.requires_grad_(False)


CASES = [
    Size(neurons, density, columns)
    for columns in (32, 1)
    for neurons, density in [
        (1024, 0.10),
        (1024, 0.05),
        (1024, 0.01),
        (4096, 0.10),
        (4096, 0.05),
        (4096, 0.01),
        (100_000, 0.001),
    ]
]
QUICK = [Size(64, 0.1, 4)]


def rates(
    weight: SparseWeight, columns: int, seconds: float, *, products: int = 1, link_bytes: int = 8
) -> dict[str, float]:
    """Return GFLOP/s, and the fraction of the limit that they are.

    A link costs two flops per column. It loads a row of X, at best at the rate of the level of
    memory that X fits in, and the links themselves come from the level that they fit in; the two
    may overlap. No kernel that takes link after link is faster.

    Args:
        weight: the square matrix.
        columns: of the dense operands.
        seconds: what one run took.
        products: how many products with all links one run makes.
        link_bytes: what each product reads and writes per link beside X: value and index.
    """
    nnz, row = weight.nnz, 4 * columns
    gathered = nnz * row / load_rate(weight.shape[1] * row)
    streamed = nnz * link_bytes / load_rate(nnz * link_bytes, split=True)
    return {
        "GFLOP/s": 2 * nnz * columns * products / seconds / 1e9,
        "share of limit": products * max(gathered, streamed) / seconds,
    }
