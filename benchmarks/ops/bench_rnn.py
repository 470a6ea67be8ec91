"""The whole-sequence recurrence, forward."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.ops.case import OperationCase, weight_of
from sparse_engine import ops

STEPS = 50


def cases(neurons: int, density: float, columns: int) -> Iterator[OperationCase]:
    """One sequence of 50 steps; its columns are all steps' batches."""
    if neurons > 10_000:
        return
    weight = weight_of(neurons, density)
    values, pattern = weight.values, weight.pattern
    z = torch.randn(STEPS, columns, neurons)
    h0 = torch.randn(columns, neurons)
    yield OperationCase(
        "rnn", weight, STEPS * columns, lambda: ops.rnn(z, h0, None, values, pattern)
    )
