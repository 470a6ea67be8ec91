"""LSTM and GRU: numbers by hand, and accuracy."""

import pytest
import torch
from kernels.sequences import FORMS, GATES
from testing import random_pattern, stacked

from sparse_engine import ops

CELLS = pytest.mark.parametrize("cell", ["lstm", "gru"])


@CELLS
def test_one_unit_at_a_time_in_numbers(cell):
    """A unit without links, by hand: every gate is sigmoid(0) or tanh(x)."""
    nothing = stacked(random_pattern(1, 1, 0), GATES[cell])
    x = torch.zeros(2, 1, GATES[cell], dtype=torch.float64)
    x[:, 0, 2] = 1.0
    tanh = torch.tensor(1.0, dtype=torch.float64).tanh()
    if cell == "lstm":
        h, c_n = ops.lstm(x, None, None, None, x.new_empty(0), nothing)
        first, second = tanh / 2, tanh / 2 + tanh / 4
        torch.testing.assert_close(h.flatten(), torch.stack([first, second]).tanh() / 2)
        torch.testing.assert_close(c_n.flatten(), second[None])
    else:
        h = ops.gru(x, None, None, x.new_empty(0), nothing)
        torch.testing.assert_close(h.flatten(), torch.stack([tanh / 2, tanh / 2 + tanh / 4]))


def test_gradients_of_the_last_c_alone():
    arguments = FORMS["lstm"].problem(random_pattern(33, 33, 200), 6, 3)
    found, wanted = [], []
    for function, grads in ((ops.lstm, found), (ops.lstm.reference, wanted)):
        leaves = [arguments[name].clone().requires_grad_() for name in ("x", "c0", "values")]
        own = arguments | dict(zip(("x", "c0", "values"), leaves, strict=True))
        grads += torch.autograd.grad(function(**own)[1].sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_sigmoid_is_accurate_everywhere(dtype, batch):
    """A GRU's unit that was 1, whose candidate is 0, is its update gate."""
    most = 87 if dtype == torch.float32 else 700
    points = torch.cat([torch.linspace(-most, most, 4001), torch.logspace(-30, 1, 500)]).to(dtype)
    points = torch.cat([points, -points[4001:]])
    units = points.numel()
    x = torch.zeros(1, batch, 3, units, dtype=dtype)
    x[:, :, 1] = points
    empty = random_pattern(3 * units, units, 0)
    h = ops.gru(x.flatten(2), torch.ones(batch, units, dtype=dtype), None, points[:0], empty)
    exact = torch.sigmoid(points.double())
    error = (h[0].double() - exact).abs() / exact
    # tanh(0) = 0 adds nothing.
    assert error.max() < 4 * torch.finfo(dtype).eps
