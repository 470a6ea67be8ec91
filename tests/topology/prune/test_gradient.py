"""Rules that look at a link's gradient, read word for word."""

import numpy as np
import pytest
import torch

from sparse_engine.nn import SparseLinear
from sparse_engine.ops import RandomKey
from sparse_engine.topology import Magnitude, RandomGrowth, Rewiring
from sparse_engine.topology.prune import GradientMagnitude, Taylor

RULES = [
    (GradientMagnitude(0.5), lambda w, g: np.abs(w) + 0.5 * np.abs(g)),
    (GradientMagnitude(0.0), lambda w, g: np.abs(w)),
    (Taylor(), lambda w, g: (w * g) ** 2),
]


@pytest.mark.parametrize(("rule", "score"), RULES)
@pytest.mark.parametrize("fraction", [0.0, 0.29, 0.5, 1.0])
@pytest.mark.parametrize("whole", [True, False])
def test_literally(rule, score, fraction, whole, weight):
    gradient = torch.randn(weight.nnz, dtype=torch.float64)
    weight.values.grad = gradient.round() if whole else gradient
    order = score(weight.values.detach().numpy(), weight.values.grad.numpy())
    expected = np.zeros(weight.nnz, bool)
    expected[np.argsort(order, kind="stable")[: int(fraction * weight.nnz)]] = True
    dropped = rule.drop(weight, fraction, RandomKey(0))
    assert np.array_equal(dropped.numpy(), expected)


def test_products_too_small_to_square_are_still_told_apart(weight_of):
    weight = weight_of(torch.tensor([3e-15, 2e-15, 1e-15]), 2, 2)
    weight.values.grad = torch.full((3,), 1e-15)
    assert Taylor().drop(weight, 0.5, RandomKey(0)).tolist() == [False, False, True]


@pytest.mark.parametrize("rule", [GradientMagnitude(1.0), Taylor()])
def test_they_see_the_gradient_of_the_last_backward_pass(rule):
    layer = SparseLinear(12, 10, density=0.3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    rewiring = Rewiring(layer, optimizer, prune=rule, grow=RandomGrowth(), every=1)
    layer(torch.randn(5, 12)).square().sum().backward()
    optimizer.step()
    kept = ~rule.drop(layer.weight, 0.3, RandomKey(0))
    assert not torch.equal(~kept, Magnitude().drop(layer.weight, 0.3, RandomKey(0)))
    survivors = layer.weight.values.detach()[kept]
    rewiring.step()
    assert torch.equal(layer.weight.values[layer.weight.values != 0], survivors)


@pytest.mark.parametrize("rule", [GradientMagnitude(1.0), Taylor()])
def test_without_a_gradient_the_error_says_what_to_do(rule, weight_of):
    with pytest.raises(ValueError, match=r"found None: .*before optimizer.zero_grad\(\)"):
        rule.drop(weight_of(torch.randn(5), 3, 3), 0.3, RandomKey(0))
