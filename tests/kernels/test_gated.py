"""LSTM and GRU: numbers by hand, accuracy, and arguments that do not fit."""

import pytest
import torch
from kernels.sequences import FORMS, GATES

from sparse_engine import ops
from sparse_engine.testing import random_pattern, stacked

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


def test_a_projection_that_does_not_fit():
    arguments = FORMS["lstm, projected"].problem(random_pattern(9, 9, 25), 4, 3)
    other = random_pattern(4, 9, 10)
    message = "recurrent weight of 4 gates, 36 x 4, found 36 x 3"
    with pytest.raises(ValueError, match=message):
        ops.lstm(**(arguments | {"projection": (torch.randn(10).double(), other)}))
    values, pattern = arguments["projection"]
    with pytest.raises(ValueError, match=r"projection_values of shape \[13\], found \[12\]"):
        ops.lstm(**(arguments | {"projection": (values[1:], pattern)}))
    with pytest.raises(ValueError, match="expected cell_clip of at least 0, found -1"):
        ops.lstm(**(arguments | {"cell_clip": -1}))


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


CHANGES = [
    ({"x": torch.randn(4, 3, 8)}, r"x of shape \[steps, batch, {rows}\], found \[4, 3, 8\]"),
    ({"x": torch.randn(4, 9)}, r"x of shape \[steps, batch, {rows}\], found \[4, 9\]"),
    ({"h0": torch.randn(2, 9)}, r"h0 of shape \[3, 9\], found \[2, 9\]"),
    ({"h0": torch.randn(3, 9).double()}, "h0 of dtype float32, found float64"),
    ({"bias": torch.randn(9)}, r"bias of shape \[{rows}\], found \[9\]"),
    ({"values": torch.randn(24)}, r"values of shape \[\d+\], found \[24\]"),
    ({"w_input": torch.randn(9, 2)}, r"w_input of shape \[{rows}, inputs\], found \[9, 2\]"),
    ({"pattern": random_pattern(9, 9, 25)}, r"weight of {gates} gates, {rows} x 9, found 9 x 9"),
]


@CELLS
@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(cell, change, message):
    arguments = FORMS[cell].problem(random_pattern(9, 9, 25), 4, 3, torch.float32) | change
    message = message.replace("{rows}", str(9 * GATES[cell])).replace("{gates}", str(GATES[cell]))
    with pytest.raises(ValueError, match=message):
        FORMS[cell].function(**arguments)


@CELLS
def test_no_input(cell):
    arguments = FORMS[f"{cell}, dense input"].problem(random_pattern(9, 9, 25), 4, 3)
    none = {"x": arguments["x"][..., :0], "w_input": arguments["w_input"][:, :0]}
    with pytest.raises(ValueError, match="of at least one input"):
        FORMS[cell].function(**(arguments | none))


def test_half_a_state():
    arguments = FORMS["lstm"].problem(random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match="both h0 and c0 or neither, found one"):
        ops.lstm(**(arguments | {"c0": None}))
    with pytest.raises(ValueError, match=r"c0 of shape \[3, 9\], found \[3, 8\]"):
        ops.lstm(**(arguments | {"c0": torch.randn(3, 8).double()}))
