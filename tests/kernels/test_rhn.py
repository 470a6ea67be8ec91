"""Recurrent highway networks: numbers by hand."""

import torch
from kernels.sequences import FORMS
from testing import random_pattern

from sparse_engine import ops


def test_one_unit_in_numbers():
    """Without links and biases, t and c are a half, and h is tanh(x) in the first level only."""
    x = torch.ones(1, 1, 1, 3, dtype=torch.float64)
    x[..., 1:] = 0
    tanh = torch.tensor(1.0, dtype=torch.float64).tanh()
    for blocks in (2, 3):
        levels = [random_pattern(blocks, 1, 0)] * 2
        s0 = torch.ones(1, 1, dtype=torch.float64)
        y = ops.rhn(x[..., :blocks], s0, None, None, [s0[0, :0]] * 2, levels)
        torch.testing.assert_close(y.flatten(), (tanh + 1)[None] / 4)


def test_the_carried_state_is_not_masked():
    """With every unit masked, the network is one without links."""
    arguments = FORMS["rhn"].problem(random_pattern(33, 33, 200), 4, 3)
    nothing = [torch.empty(0, dtype=torch.float64)] * 2
    empty = [random_pattern(66, 33, 0)] * 2
    alone = ops.rhn(**(arguments | {"mask": None, "values": nothing, "patterns": empty}))
    masked = ops.rhn(**(arguments | {"mask": torch.zeros_like(arguments["mask"])}))
    torch.testing.assert_close(masked, alone, rtol=0, atol=0)
