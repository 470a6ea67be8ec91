"""RNN and LSTM with layer normalisation: numbers by hand, and accuracy."""

import pytest
import torch
from kernels.sequences import FORMS, leaves_of, with_leaves
from testing import as_tuple, pattern_of, random_pattern, square_patterns

from sparse_engine import ops
from sparse_engine.ops import Norm

CELLS = pytest.mark.parametrize("cell", ["normed_rnn", "normed_lstm"])


def test_two_units_in_numbers():
    """Sums of 3 and 1 are one deviation above and below their mean."""
    pattern = pattern_of(torch.ones(2, 1, dtype=torch.bool).expand(2, 2))
    values = torch.tensor([3.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    x, h0 = values.new_tensor([[[0.5, 0.25]]]), values.new_tensor([[1.0, 0.0]])
    norm = Norm(values.new_tensor([2.0, 2.0]), values.new_tensor([0.0, 1.0]), eps=3.0)
    h = ops.normed_rnn(x, h0, values, pattern, norm, nonlinearity="relu")
    torch.testing.assert_close(h.flatten(), values.new_tensor([0.5 + 1.0, 0.25 - 1.0 + 1.0]))


@CELLS
@pytest.mark.parametrize("batch", [1, 20])
def test_a_mean_far_from_zero_costs_no_digits(cell, batch):
    """The variance is not a small difference of large numbers."""
    arguments = FORMS[cell].problem(square_patterns()["all"], 1, batch, torch.float32)
    rows, hidden = arguments["pattern"].shape
    arguments["h0"] = torch.ones(batch, hidden)
    arguments["values"] = (1024 + torch.randint(-8, 9, (rows, 1))).float().repeat(1, hidden)
    arguments["values"] = arguments["values"].flatten() / hidden
    found = as_tuple(FORMS[cell].function(**arguments))[0]
    leaves = {name: leaf.double() for name, leaf in leaves_of(arguments).items()}
    exact = as_tuple(FORMS[cell].reference(**with_leaves(arguments, leaves)))[0]
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


def test_gradients_of_the_last_c_alone():
    arguments = FORMS["normed_lstm"].problem(random_pattern(33, 33, 200), 6, 3)
    found, wanted = [], []
    for function, grads in ((ops.normed_lstm, found), (ops.normed_lstm.reference, wanted)):
        leaves = {name: arguments[name].clone().requires_grad_() for name in ("x", "c0", "values")}
        last = function(**with_leaves(arguments, leaves))[1]
        grads += torch.autograd.grad(last.sum(), [*leaves.values()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
