"""The ordered-neurons LSTM: numbers by hand, and accuracy."""

import pytest
import torch
from kernels.sequences import FORMS, check
from testing import random_pattern

from sparse_engine import ops


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
