"""Recurrent highway networks: numbers by hand, and arguments that do not fit."""

import pytest
import torch
from kernels.sequences import FORMS

from sparse_engine import ops
from sparse_engine.testing import random_pattern


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


OTHER = random_pattern(20, 10, 30)


CHANGES = [
    ({"x": torch.randn(4, 1, 3, 8)}, r"x of shape \[steps, levels, batch, 18\].*\[4, 1, 3, 8\]"),
    ({"x": torch.randn(4, 3, 3, 18)}, r"with at most 2 levels, found \[4, 3, 3, 18\]"),
    ({"x": torch.randn(4, 3, 18)}, r"x of shape .* found \[4, 3, 18\]"),
    ({"x": torch.randn(0, 1, 3, 18)}, "expected x of at least one time step"),
    ({"x": torch.randn(4, 1, 3, 18).double()}, "x of dtype float32, found float64"),
    ({"s0": torch.randn(2, 9)}, r"s0 of shape \[3, 9\], found \[2, 9\]"),
    ({"mask": torch.randn(3, 8)}, r"mask of shape \[3, 9\], found \[3, 8\]"),
    ({"bias": torch.randn(18)}, r"bias of shape \[2, 18\], found \[18\]"),
    ({"values": [torch.randn(25)] * 2}, r"values of shape \[100\], found \[50\]"),
    ({"values": [torch.randn(50)]}, "each of at least one level, found 1 and 2"),
    ({"values": [], "patterns": []}, "each of at least one level, found 0 and 0"),
    ({"patterns": [random_pattern(9, 9, 50)] * 2}, r"2 blocks .* 18 or 27 x 9, found 9 x 9"),
    ({"patterns": [random_pattern(18, 9, 70), OTHER]}, "of one shape, 18 x 9, found 20 x 10"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(change, message):
    arguments = FORMS["rhn"].problem(random_pattern(9, 9, 25), 4, 3, torch.float32) | change
    with pytest.raises(ValueError, match=message):
        ops.rhn(**arguments)
