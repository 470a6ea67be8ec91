"""tanh and ReLU inside the recurrence, over all sizes of numbers."""

import pytest
import torch
from testing import random_pattern

from sparse_engine import ops


def activate(points, batch, nonlinearity):
    """act(points), computed by the recurrence without links."""
    units = points.numel()
    nothing = random_pattern(units, units, 0)
    x = points.expand(1, batch, units)
    return ops.rnn(x, None, None, points[:0], nothing, nonlinearity=nonlinearity)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_tanh_is_accurate_everywhere(dtype, batch):
    tiny = torch.finfo(dtype).tiny
    points = torch.cat([torch.linspace(-12, 12, 4001), torch.logspace(-30, 1, 500)]).to(dtype)
    points = torch.cat([points, points.new_tensor([0.0, tiny, 60, -60, torch.inf, -torch.inf])])
    exact = torch.tanh(points.double())
    error = (activate(points, batch, "tanh").double() - exact).abs() / exact.abs().clamp(min=tiny)
    assert error.max() < 3 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_relu_is_exact(dtype, batch):
    points = torch.tensor([-torch.inf, -1.0, -0.0, 0.0, 1e-40, 3.5, torch.inf], dtype=dtype)
    assert torch.equal(activate(points, batch, "relu"), points.relu().expand(batch, 7))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_nan_is_not_hidden(nonlinearity, batch):
    points = torch.tensor([1.0, torch.nan, -1.0])
    found = activate(points, batch, nonlinearity).isnan()
    assert torch.equal(found, points.isnan().expand(batch, 3))
