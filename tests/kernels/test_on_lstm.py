"""The ordered-neurons LSTM: numbers by hand, accuracy, and arguments that do not fit."""

from functools import partial

import pytest
import torch
from kernels.sequences import FORMS, Form, check, on_lstm

from sparse_engine import ops
from sparse_engine.testing import random_pattern


def test_two_chunks_in_numbers():
    """Without links, c0 and biases: every gate is a half, and both masters are (1/2, 0; 1/2, 1)."""
    x = torch.zeros(1, 1, 2 * 2 + 4 * 4, dtype=torch.float64)
    x[..., 8:12] = 1.0
    nothing = random_pattern(20, 4, 0)
    tanh = torch.tensor(1.0, dtype=torch.float64).tanh()
    c0 = torch.ones(1, 4, dtype=torch.float64)
    h, c_n = ops.on_lstm(x, 0 * c0, c0, None, x.new_empty(0), nothing)
    # Of the chunks: both masters at once 1/4 and 0, forget 3/8 and 1, input 3/8 and 0.
    wanted = torch.stack([0.375 + 0.375 * tanh] * 2 + [torch.ones_like(tanh)] * 2)
    torch.testing.assert_close(c_n.flatten(), wanted)
    torch.testing.assert_close(h.flatten(), wanted.tanh() / 2)


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_master_gates(dtype, batch):
    """The softmax neither overflows nor loses its small terms."""
    form = FORMS["on_lstm, chunks of one"]
    arguments = form.problem(random_pattern(8, 8, 0), 1, batch, dtype)
    arguments["x"][..., :16] *= 300
    arguments["x"][0, 0, :4] = torch.tensor([1e30, -1e30, 0, 80])
    check(form, arguments)


@pytest.mark.parametrize("batch", [1, 20])
def test_infinite_master_gates(batch):
    arguments = FORMS["on_lstm, chunks of one"].problem(random_pattern(4, 4, 0), 1, batch)
    strange = torch.tensor([-torch.inf, 1.0, -torch.inf, 0.0], dtype=torch.float64)
    for first in (0, 4, 8):
        arguments["x"][..., first : first + 4] = strange
    arguments["x"][0, -1, 12] = torch.nan
    found, wanted = ops.on_lstm(**arguments), ops.on_lstm.reference(**arguments)
    torch.testing.assert_close(found, wanted, equal_nan=True)


CHANGES = [
    ({"x": torch.randn(4, 3, 8)}, r"x of shape \[steps, batch, 30\], found \[4, 3, 8\]"),
    ({"x": torch.randn(0, 3, 30)}, "expected x of at least one time step"),
    ({"h0": torch.randn(2, 6)}, r"h0 of shape \[3, 6\], found \[2, 6\]"),
    ({"c0": torch.randn(3, 5)}, r"c0 of shape \[3, 6\], found \[3, 5\]"),
    ({"c0": None}, "both h0 and c0 or neither, found one"),
    ({"h0": torch.randn(3, 6).double()}, "h0 of dtype float32, found float64"),
    ({"bias": torch.randn(24)}, r"bias of shape \[30\], found \[24\]"),
    ({"values": torch.randn(1)}, r"values of shape \[\d+\], found \[1\]"),
    ({"pattern": random_pattern(24, 6, 9)}, r"2 \* chunks \+ 4 \* 6 rows x 6 .* found 24 x 6"),
    ({"pattern": random_pattern(31, 6, 9)}, "found 31 x 6"),
    ({"pattern": random_pattern(32, 6, 9)}, "with chunks that divide 6, found 32 x 6"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(change, message):
    pairs = Form("on_lstm", partial(on_lstm, most=2))
    arguments = pairs.problem(random_pattern(6, 6, 12), 4, 3, torch.float32) | change
    with pytest.raises(ValueError, match=message):
        ops.on_lstm(**arguments)
