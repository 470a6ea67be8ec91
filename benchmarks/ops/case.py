"""One measured operation, and what it has to load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks._bandwidth import load_rate
from sparse_engine.nn import SparseWeight

#: (neurons, density, columns)
SIZES = [
    (neurons, density, columns)
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
QUICK = [(64, 0.1, 4)]


@dataclass(frozen=True)
class OperationCase:
    """An operation on one size, with the contestant that it is compared with.

    Attributes:
        name: of the operation.
        weight: the square matrix.
        columns: of the dense operands.
        run: our operation.
        peer: the same by torch.sparse, where it has it.
        target: how many times longer the peer should take.
        products: how many products with all links one run makes.
        link_bytes: what each product reads and writes per link beside X: value and index.
    """

    name: str
    weight: SparseWeight
    columns: int
    run: Callable[[], object]
    peer: Callable[[], torch.Tensor] | None = None
    target: float | None = None
    products: int = 1
    link_bytes: int = 8

    @property
    def flops(self) -> int:
        """A multiplication and an addition per link and column."""
        return 2 * self.weight.nnz * self.columns * self.products

    @property
    def bound(self) -> float:
        """Seconds below which no kernel that takes link after link can come.

        Every link loads a row of X, at best at the rate of the level of memory that X fits in, and
        the links themselves come from the level that they fit in. The two may overlap.
        """
        nnz, row = self.weight.nnz, 4 * self.columns
        gathered = nnz * row / load_rate(self.weight.shape[1] * row)
        streamed = nnz * self.link_bytes / load_rate(nnz * self.link_bytes, split=True)
        return self.products * max(gathered, streamed)


def weight_of(neurons: int, density: float) -> SparseWeight:
    """A random square weight that needs no gradient."""
    return SparseWeight.erdos_renyi(neurons, neurons, density=density).requires_grad_(False)
