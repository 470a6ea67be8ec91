"""Calls of small linear layers, whose time is that of everything around the product."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from benchmarks._single import measured
from sparse_engine.nn import SparseLinear

LAYERS = {
    "sparse_engine": lambda: SparseLinear(64, 64, density=0.1),
    "nn": lambda: nn.Linear(64, 64),
}


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("by", LAYERS)
def test_call(benchmark: BenchmarkFixture, by: str, gradients: bool) -> None:
    """One row through 64 units, with a record for autograd or without."""
    layer, x = LAYERS[by](), torch.randn(1, 64)
    with torch.set_grad_enabled(gradients):
        measured(benchmark, lambda: layer(x), f"call of a layer, {gradients=}")
