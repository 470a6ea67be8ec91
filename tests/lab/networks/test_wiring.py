"""Recurrent networks whose wiring has a given structure."""

import pytest
import torch
from testing import refusals

from sparse_engine.analysis import find_planted_loops, spectral_radius, structural_balance
from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.networks.wiring import WIRINGS
from sparse_engine.nn.recurrent import recurrent_weights


def network(seed=0, cell="rnn", **settings):
    description = RecurrentNetwork(cell=cell, hidden=64, density=0.1, **settings)
    return description.recurrent(3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cell", ["rnn", "ctrnn", "neural_ode", "rate_rnn"])
@pytest.mark.parametrize("target", [0.2, 0.5, 0.8])
def test_balanced_wirings_have_their_balance(cell, target):
    weight = network(
        cell=cell,
        wiring="balanced",
        wiring_options={"balance": target, "bound": 0.4, "radius": 1.1},
        layers=2,
    ).weight_hh_l1
    assert structural_balance(weight).pooled == pytest.approx(target, abs=0.02)
    assert spectral_radius(weight) == pytest.approx(1.1)
    assert weight.nnz == round(0.1 * 64 * 63)


def test_planted_wirings_have_their_loops():
    weight = network(wiring="planted", wiring_options={"loops": 7}).weight_hh_l0
    assert find_planted_loops(weight).shape == (7, 3)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_values_follow_from_gain_or_bound_and_from_the_generator(wiring):
    def values(seed=0, gain=1.4, unscaled=False, **options):
        settings = {"gain": gain, "unscaled": unscaled, "wiring_options": options}
        return network(seed, wiring=wiring, **settings).weight_hh_l0.values

    found = values()
    assert found.requires_grad and found.dtype == torch.get_default_dtype()
    largest = 1.4 / (0.1 * 64) ** 0.5
    assert 0.9 * largest < found.abs().max() < largest
    assert found.abs().min() < 0.1 * largest and 0.3 < (found > 0).float().mean() < 0.7
    assert torch.equal(found, values())
    other = values(1)
    assert other.shape != found.shape or not torch.equal(found, other)
    assert values(bound=0.3).abs().max() < 0.3
    torch.testing.assert_close(values(unscaled=True), found * 0.1**0.5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "ltc"])
def test_fixed_weights_get_no_gradient(cell):
    fixed, trained = (network(cell=cell, fixed_weights=each) for each in (True, False))
    x = torch.randn(5, 2, 3)
    for model in (fixed, trained):
        model(x)[0].sum().backward()
    recurrent = {id(p) for weight in recurrent_weights(fixed) for p in weight.parameters()}
    assert recurrent
    for (name, mine), theirs in zip(fixed.named_parameters(), trained.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
        if id(mine) in recurrent:
            assert mine.grad is None, name
        else:
            torch.testing.assert_close(mine.grad, theirs.grad)


def of(**settings):
    return lambda: network(**settings)


HALF = {"balance": 0.5}
test_wirings_that_do_not_fit_are_refused = refusals(
    ("no wiring_options for a random wiring, found bal", of(wiring_options=HALF)),
    ("options of the wiring planted, found bal", of(wiring="planted", wiring_options=HALF)),
    (r"target in \[0, 1\]", of(wiring="balanced", wiring_options={"balance": 2.0})),
    ("a cell with square recurrent weights", of(wiring="planted", cell="lstm")),
    ("a cell with square recurrent weights", of(wiring="planted", cell="ltc")),
)
