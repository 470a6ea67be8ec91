"""The weight gradient: A B^T at the links."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks._peers import torch_csr
from benchmarks.ops.case import OperationCase, weight_of
from sparse_engine import ops


def cases(neurons: int, density: float, columns: int) -> Iterator[OperationCase]:
    """One product of one size."""
    weight = weight_of(neurons, density)
    pattern, csr = weight.pattern, torch_csr(weight)
    a, b = torch.randn(neurons, columns), torch.randn(neurons, columns)
    yield OperationCase(
        "sddmm",
        weight,
        columns,
        lambda: ops.sddmm(pattern, a, b),
        lambda: torch.sparse.sampled_addmm(csr, a, b.T, beta=0.0),
    )
