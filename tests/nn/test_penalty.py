"""The penalty on links against its sum and its gradient."""

import pytest
import torch
from testing import refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight, link_penalty


def model_of():
    shared = SparseLinear(8, 8, density=0.4, dtype=torch.float64)
    last = nn.Linear(8, 3, dtype=torch.float64)
    return nn.Sequential(shared, nn.Tanh(), shared, last)


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_is_the_sum_over_links_and_nothing_else(l1, l2):
    model = model_of()
    dense = model[0].weight.to_dense().detach()
    expected = l1 * dense.abs().sum() + l2 * (dense**2).sum()
    penalty = link_penalty(model, l1=l1, l2=l2)
    assert penalty.shape == ()
    assert_close(penalty, expected)
    penalty.backward()
    values = model[0].weight.values
    assert_close(values.grad, l1 * values.detach().sign() + 2 * l2 * values.detach())
    assert all(p.grad is None for p in model.parameters() if p is not values)


def test_every_weight_of_a_recurrent_network_counts():
    network = SparseRNN(3, 20, num_layers=2, density=0.2)
    weights = [m for m in network.modules() if isinstance(m, SparseWeight)]
    assert len(weights) > 1
    expected = sum(weight.values.abs().sum() for weight in weights)
    assert_close(link_penalty(network, l1=1.0), expected)
    assert link_penalty(network).item() == 0


def test_a_parameter_of_two_weights_counts_once():
    first, second = SparseLinear(8, 8, density=0.4), SparseLinear(8, 8, density=0.4)
    second.weight.values = first.weight.values
    assert_close(
        link_penalty(nn.ModuleList([first, second]), l1=1.0), first.weight.values.abs().sum()
    )


test_what_is_no_penalty_is_refused = refusals(
    ("expected a finite l1 of at least 0, found -1.0", lambda: link_penalty(model_of(), l1=-1.0)),
    ("finite l2 of at least 0, found nan", lambda: link_penalty(model_of(), l2=float("nan"))),
    ("a model with sparse weights, found none", lambda: link_penalty(nn.Linear(3, 3), l1=1.0)),
)
