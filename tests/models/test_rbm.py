"""Restricted Boltzmann machines against sums over all their states."""

from itertools import product

import pytest
import torch
from testing import refusals
from torch.testing import assert_close

from sparse_engine.lab.networks import RBMNetwork
from sparse_engine.models import SparseRBM, set_density


def machine(visible=4, hidden=3, density=0.5, std=1.0):
    rbm = SparseRBM(
        visible,
        hidden,
        density=density,
        initial_std=std,
        generator=torch.Generator().manual_seed(0),
    ).double()
    with torch.no_grad():
        rbm.hidden_bias.normal_()
        rbm.visible_bias.normal_()
    return rbm


def states(units):
    return torch.tensor([*product((0.0, 1.0), repeat=units)], dtype=torch.float64)


def energies(rbm):
    """Return the energy of every pair of states, ``[visible states, hidden states]``."""
    v, h, w = states(4), states(3), rbm.weight.to_dense()
    return -(v @ w.T @ h.T) - (h @ rbm.hidden_bias) - (v @ rbm.visible_bias)[:, None]


def test_free_energy_sums_over_the_hidden_states():
    rbm = machine()
    assert_close(rbm.free_energy(states(4)), -torch.logsumexp(-energies(rbm), 1))


def test_probabilities_are_those_of_the_energy():
    rbm = machine()
    joint = torch.softmax(-energies(rbm).flatten(), 0).view(16, 8)
    assert_close(rbm.hidden_probabilities(states(4)), joint @ states(3) / joint.sum(1)[:, None])
    assert_close(rbm.visible_probabilities(states(3)), joint.T @ states(4) / joint.sum(0)[:, None])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_is_that_of_contrastive_divergence(steps):
    rbm, v = machine(12, 7), torch.rand(10, 12, dtype=torch.float64)
    dense, b, c = (
        each.detach() for each in (rbm.weight.to_dense(), rbm.hidden_bias, rbm.visible_bias)
    )
    model, draw = v, torch.Generator().manual_seed(3)
    for _ in range(steps):
        h = torch.bernoulli(torch.sigmoid(model @ dense.T + b), generator=draw)
        model = torch.sigmoid(h @ dense + c)
    before, after = torch.sigmoid(v @ dense.T + b), torch.sigmoid(model @ dense.T + b)
    expected = (after.T @ model - before.T @ v) / 10
    rbm.contrastive_divergence(v, steps, generator=torch.Generator().manual_seed(3)).backward()
    rows, cols = rbm.weight.rows(), rbm.weight.col_indices.long()
    assert_close(rbm.weight.values.grad, expected[rows, cols])
    assert_close(rbm.hidden_bias.grad, (after - before).mean(0))
    assert_close(rbm.visible_bias.grad, (model - v).mean(0))


def test_a_description_makes_the_published_machine():
    rbm = RBMNetwork(set_density(10, 1024, 200)).rbm(
        1024, generator=torch.Generator().manual_seed(0)
    )
    assert rbm.weight.shape == (200, 1024) and rbm.weight.nnz == 12_240
    assert rbm.weight.values.std().item() == pytest.approx(0.05, rel=0.03)
    assert not rbm.hidden_bias.any() and not rbm.visible_bias.any()


test_wrong_arguments_are_named = refusals(
    (
        "expected steps of at least 1, found 0",
        lambda: machine().contrastive_divergence(states(4), 0),
    ),
    (
        "expected hidden units of torch.float64 and shape",
        lambda: machine().visible_probabilities(states(4)),
    ),
    ("expected input of shape", lambda: machine().free_energy(states(3))),
    ("finite initial_std of at least 0, found -1", lambda: machine(std=-1)),
    ("exactly one of density and epsilon", lambda: SparseRBM(4, 3)),
)
