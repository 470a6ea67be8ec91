"""AllReLU against its definition."""

import numpy as np
import pytest
import torch

from sparse_engine.nn import AllReLU


@pytest.mark.parametrize("layer", range(4))
def test_is_the_literal_rule(layer):
    x = np.array([-3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 2.0])
    paper_layer = layer + 2  # where the input is layer 1
    expected = [v if v > 0 else (-0.6 if paper_layer % 2 == 0 else 0.6) * v for v in x]
    found = AllReLU(0.6, layer)(torch.tensor(x)).numpy()
    assert found == pytest.approx(expected)


def test_the_first_hidden_layer_folds_up():
    x = torch.tensor([-2.0])
    assert AllReLU(0.5, 0)(x).item() == 1.0
    assert AllReLU(0.5, 1)(x).item() == -1.0


@pytest.mark.parametrize("layer", [0, 1])
def test_gradcheck_and_input_unchanged(layer):
    x = torch.linspace(-1, 1, 8, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    assert torch.autograd.gradcheck(AllReLU(0.75, layer), x)
    assert torch.autograd.gradgradcheck(AllReLU(0.75, layer), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("slope", "layer", "message"),
    [
        (-0.1, 0, "expected a finite slope of at least 0, found -0.1"),
        (float("nan"), 0, "expected a finite slope of at least 0, found nan"),
        (0.6, -1, "expected layer of at least 0, found -1"),
    ],
)
def test_wrong_arguments_are_named(slope, layer, message):
    with pytest.raises(ValueError, match=message):
        AllReLU(slope, layer)
