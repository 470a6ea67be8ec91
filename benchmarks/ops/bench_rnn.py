"""The whole-sequence recurrence."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.ops.case import OperationCase, weight_of
from sparse_engine import ops

STEPS = 50
MOST_NEURONS = 10_000  # the states of all steps are kept


def cases(neurons: int, density: float, columns: int) -> Iterator[OperationCase]:
    """A sequence forward: a product per step; and with its gradients: three per step."""
    if neurons > MOST_NEURONS:
        return
    weight = weight_of(neurons, density)
    pattern = weight.pattern
    values = weight.values.detach().clone().requires_grad_()
    z = torch.randn(STEPS, columns, neurons)
    upstream = torch.randn(STEPS, columns, neurons)

    def forward() -> torch.Tensor:
        return ops.rnn(z, None, None, weight.values, pattern)

    def both() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(ops.rnn(z, None, None, values, pattern), values, upstream)

    yield OperationCase("rnn", weight, columns, forward, products=STEPS)
    yield OperationCase("rnn, gradients", weight, columns, both, products=3 * STEPS)
