"""Gradual pruning: values and optimizer state shrink together."""

from itertools import pairwise

import pytest
import torch
from testing import assert_valid

from sparse_engine.nn import SparseLinear
from sparse_engine.topology import GradualPruning, NarangPruning, NarangRamp

METHODS = {
    "cubic": lambda m, o: GradualPruning(m, o, density=0.1, last=40, every=10),
    "Narang": lambda m, o: NarangPruning(m, o, density=0.1, ramp=NarangRamp(0, 20, 41), every=10),
}


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.randn(8, 20)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", METHODS)
def test_values_gradient_and_moments_shrink_together(kind, links_of):
    model = SparseLinear(20, 15, density=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rule, weight = METHODS[kind](model, optimizer), model.weight
    parameter, numbers = weight.values, [weight.nnz]
    for _ in range(4):
        for _ in range(10):
            step(model, optimizer)
            state = optimizer.state[weight.values]
            names = ["exp_avg", "exp_avg_sq"]
            entries = [weight.values.detach(), weight.values.grad, *(state[n] for n in names)]
            before = [links_of(weight, entry.clone()) for entry in entries]
            rule.step()
        entries = [weight.values.detach(), weight.values.grad, *(state[n] for n in names)]
        for old, entry in zip(before, entries, strict=True):
            after = links_of(weight, entry)
            assert all(old[position] == value for position, value in after.items())
        magnitudes = sorted(abs(value) for value in before[0].values())
        assert sorted(abs(v) for v in links_of(weight).values()) == magnitudes[-weight.nnz :]
        numbers.append(weight.nnz)
        assert_valid(weight)
    assert weight.values is parameter
    assert all(new < old for old, new in pairwise(numbers))
    if kind == "cubic":
        assert numbers[1:] == [
            round(300 * (0.1 + 0.9 * (1 - p) ** 3)) for p in (0.25, 0.5, 0.75, 1)
        ]
    step(model, optimizer)
