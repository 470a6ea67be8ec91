"""The weight gradient: A B^T at the links."""

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


@pytest.mark.parametrize("by", ["sparse_engine", "torch.sparse"])
def test_sddmm(benchmark: BenchmarkFixture, case: Size, by: str) -> None:
    """One product of one size."""
    weight = case.weight()
    pattern, csr = weight.pattern, torch_csr(weight)
    a, b = (torch.randn(case.neurons, case.columns) for _ in range(2))
    runs = {
        "sparse_engine": lambda: ops.sddmm(pattern, a, b),
        "torch.sparse": lambda: torch.sparse.sampled_addmm(csr, a, b.T, beta=0.0),
    }
    seconds = measured(benchmark, runs[by], f"sddmm, {case}")
    benchmark.extra_info.update(rates(weight, case.columns, seconds))
