"""W X and W^T X."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks._peers import torch_csr
from benchmarks._single import measured
from benchmarks.ops.case import CASES as CASES
from benchmarks.ops.case import QUICK as QUICK
from benchmarks.ops.case import Size, rates
from sparse_engine import ops
from sparse_engine.nn import SparseWeight

BY = pytest.mark.parametrize("by", ["sparse_engine", "torch.sparse"])


def target(case: Size) -> str:
    """Return how many times longer torch.sparse should take."""
    return f"{2.2 if case.columns > 1 else 1} x torch.sparse"


@BY
def test_spmm(benchmark: BenchmarkFixture, case: Size, by: str) -> None:
    """W X."""
    weight, x = case.weight(), torch.randn(case.neurons, case.columns)
    values, pattern, csr = weight.values, weight.pattern, torch_csr(weight)
    runs = {"sparse_engine": lambda: ops.spmm(values, pattern, x), "torch.sparse": lambda: csr @ x}
    seconds = measured(benchmark, runs[by], f"spmm, {case}", target=target(case))
    benchmark.extra_info.update(rates(weight, case.columns, seconds))


@BY
def test_spmm_t(benchmark: BenchmarkFixture, case: Size, by: str) -> None:
    """W^T X.

    torch.sparse gets the transpose as a CSR matrix of its own, made beforehand; in training it
    would have to be made anew whenever the values change.
    """
    weight, x = case.weight(), torch.randn(case.neurons, case.columns)
    values, pattern, csr = weight.values, weight.pattern, torch_csr(transposed(weight))
    runs = {
        "sparse_engine": lambda: ops.spmm_t(values, pattern, x),
        "torch.sparse": lambda: csr @ x,
    }
    seconds = measured(benchmark, runs[by], f"spmm_t, {case}", target=target(case))
    # 12 bytes: also the position of a value in CSR order.
    benchmark.extra_info.update(rates(weight, case.columns, seconds, link_bytes=12))


def transposed(weight: SparseWeight) -> SparseWeight:
    """Return W^T."""
    _, _, t_crow, t_col, permutation, _ = weight.pattern
    values = weight.values.detach()[permutation.long()]
    return SparseWeight.from_csr(t_crow, t_col, values, weight.shape[::-1])
