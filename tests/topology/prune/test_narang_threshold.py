"""Gradual pruning, read word for word on the dense matrix."""

import math

import numpy as np
import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.testing import assert_valid
from sparse_engine.topology import Constant, Dynamic, NarangRamp, NarangThreshold, Uniform

RAMP = NarangRamp(10, 20, 40)


def literal(weight, density, step):
    dense = np.abs(weight.to_dense().detach().numpy()).ravel()
    q = np.sort(dense)[math.floor((1 - density) * dense.size)]
    threshold = RAMP.at(step) * q
    magnitude = np.abs(weight.values.detach().numpy())
    return magnitude <= threshold if threshold > 0 else np.zeros(len(magnitude), bool)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("step", [0, 10, 11, 19, 20, 33, 39, 40])
def test_literally(density, step, weight):
    dropped = NarangThreshold(RAMP, density).drop(weight, 0.7, RandomKey(0, step))
    assert dropped.dtype == torch.bool
    assert np.array_equal(dropped.numpy(), literal(weight, density, step))


def test_a_density_of_less_than_one_cell_asks_for_the_largest(weight_of):
    weight = weight_of(torch.arange(1.0, 10.0), 3, 3)
    assert RAMP.at(33) == pytest.approx(0.8)
    dropped = NarangThreshold(RAMP, 1e-20).drop(weight, 0.0, RandomKey(0, 33))
    assert (~dropped).nonzero().flatten().tolist() == [7, 8]


def test_a_dense_weight_becomes_sparse_along_the_ramp(weight_of):
    ramp = NarangRamp(100, 200, 400)
    weights = [weight_of(torch.randn(n), 20, 20) for n in (400, 390)]
    model = torch.nn.ModuleList(weights)
    arrays = [weight.values.detach().abs().numpy().copy() for weight in weights]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for weight in weights:
        optimizer.state[weight.values]["momentum_buffer"] = weight.values.detach().clone()
    rule = Dynamic(
        model,
        optimizer,
        prune=NarangThreshold(ramp, 0.1),
        grow=Uniform(),
        density=Constant(0.0),
        every=10,
    )
    for step in range(1, 500):
        if not rule.step():
            continue
        for i, weight in enumerate(weights):
            q = np.sort(np.pad(arrays[i], (400 - len(arrays[i]), 0)))[360]
            arrays[i] = arrays[i][arrays[i] > ramp.at(step) * q]
            assert np.array_equal(weight.values.detach().abs().numpy(), arrays[i])
            assert_valid(weight)
    for weight in weights:
        # The ramp ends just below q.
        assert 40 <= weight.nnz <= 50
        assert torch.equal(optimizer.state[weight.values]["momentum_buffer"], weight.values)


@pytest.mark.parametrize("density", [0.0, 1.5, math.nan])
def test_wrong_arguments_are_named(density):
    with pytest.raises(ValueError, match=rf"density in \(0, 1\], found {density}"):
        NarangThreshold(RAMP, density)


def test_nan_is_named(with_nan):
    with pytest.raises(ValueError, match="NaN at link 4"):
        NarangThreshold(RAMP, 0.3).drop(with_nan, 0.3, RandomKey(0, 0))
