"""W X and W^T X."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.ops.case import OperationCase, torch_csr, weight_of
from sparse_engine import ops


def cases(neurons: int, density: float, columns: int) -> Iterator[OperationCase]:
    """The two products of one size; torch.sparse multiplies by a transpose only by converting."""
    weight = weight_of(neurons, density)
    values, pattern, csr = weight.values, weight.pattern, torch_csr(weight)
    x = torch.randn(neurons, columns)
    yield OperationCase(
        "spmm",
        weight,
        columns,
        lambda: ops.spmm(values, pattern, x),
        lambda: csr @ x,
        2.2 if columns > 1 else 1.0,
    )
    yield OperationCase("spmm_t", weight, columns, lambda: ops.spmm_t(values, pattern, x))
