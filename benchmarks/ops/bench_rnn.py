"""The whole-sequence recurrence."""

from __future__ import annotations

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks._single import measured
from benchmarks.ops import case as sizes
from benchmarks.ops.case import Size, rates
from sparse_engine import ops

STEPS = 50
# The states of all steps are kept: no weight of 100,000 units.
CASES = [size for size in sizes.CASES if size.neurons <= 10_000]
QUICK = sizes.QUICK


def test_forward(benchmark: BenchmarkFixture, case: Size) -> None:
    """A sequence forward: a product per step."""
    weight, z = case.weight(), torch.randn(STEPS, case.columns, case.neurons)
    values, pattern = weight.values, weight.pattern
    seconds = measured(benchmark, lambda: ops.rnn(z, None, None, values, pattern), f"rnn, {case}")
    benchmark.extra_info.update(rates(weight, case.columns, seconds, products=STEPS))


def test_gradients(benchmark: BenchmarkFixture, case: Size) -> None:
    """A sequence with its gradients: three products per step."""
    weight, z = case.weight(), torch.randn(STEPS, case.columns, case.neurons)
    values, pattern = weight.values.detach().clone().requires_grad_(), weight.pattern
    upstream = torch.randn(STEPS, case.columns, case.neurons)

    def both() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(ops.rnn(z, None, None, values, pattern), values, upstream)

    seconds = measured(benchmark, both, f"rnn with gradients, {case}")
    benchmark.extra_info.update(rates(weight, case.columns, seconds, products=3 * STEPS))
