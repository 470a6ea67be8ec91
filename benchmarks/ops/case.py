"""One measured operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

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
        weight: the matrix.
        columns: of the dense operands.
        run: our operation.
        peer: the same by torch.sparse, where it has it.
        target: the least ratio of the peer's time to ours.
    """

    name: str
    weight: SparseWeight
    columns: int
    run: Callable[[], torch.Tensor]
    peer: Callable[[], torch.Tensor] | None = None
    target: float | None = None

    @property
    def flops(self) -> int:
        """A multiplication and an addition per link and column."""
        return 2 * self.weight.nnz * self.columns

    @property
    def gathered_bytes(self) -> int:
        """What must be loaded: a row of X, a value and an index per link."""
        return self.weight.nnz * (4 * self.columns + 8)


def weight_of(neurons: int, density: float) -> SparseWeight:
    """A random square weight that needs no gradient."""
    return SparseWeight.erdos_renyi(neurons, neurons, density=density).requires_grad_(False)


def torch_csr(weight: SparseWeight) -> torch.Tensor:
    """The same matrix as torch.sparse's CSR with int32 indices, which MKL takes as they are."""
    return torch.sparse_csr_tensor(
        weight.crow_indices.int(),
        weight.col_indices,
        weight.values.detach(),
        weight.shape,
        check_invariants=False,
    )
