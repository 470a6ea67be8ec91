"""W X and W^T X."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks._peers import torch_csr
from benchmarks.ops.case import OperationCase, weight_of
from sparse_engine import ops
from sparse_engine.nn import SparseWeight


def cases(neurons: int, density: float, columns: int) -> Iterator[OperationCase]:
    """The two products of one size.

    torch.sparse gets the transpose as a CSR matrix of its own, made beforehand; in training it
    would have to be made anew whenever the values change.
    """
    weight = weight_of(neurons, density)
    values, pattern, csr = weight.values, weight.pattern, torch_csr(weight)
    csr_t = torch_csr(transposed(weight))
    x = torch.randn(neurons, columns)
    target = 2.2 if columns > 1 else 1.0
    yield OperationCase(
        "spmm", weight, columns, lambda: ops.spmm(values, pattern, x), lambda: csr @ x, target
    )
    yield OperationCase(
        "spmm_t",
        weight,
        columns,
        lambda: ops.spmm_t(values, pattern, x),
        lambda: csr_t @ x,
        target,
        link_bytes=12,  # and the position of its value in CSR order
    )


def transposed(weight: SparseWeight) -> SparseWeight:
    """W^T."""
    _, _, t_crow, t_col, permutation = weight.pattern
    values = weight.values.detach()[permutation.long()]
    return SparseWeight.from_csr(t_crow, t_col, values, weight.shape[::-1])
