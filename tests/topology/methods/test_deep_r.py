"""Deep rewiring, read literally: one step of the walk, and whose sign turned goes."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from sparse_engine.nn import SparseLinear, SparseLTC
from sparse_engine.nn.recurrent import recurrent_weights
from sparse_engine.ops import RandomKey
from sparse_engine.topology import DeepR, PeriodicDeepR
from sparse_engine.topology.prune import AssignedSign


def parts(lr=0.1):
    model = torch.nn.Sequential(
        SparseLinear(30, 20, density=0.3), SparseLinear(20, 10, density=0.4)
    )
    groups = [{"params": model[0].parameters(), "lr": lr}, {"params": model[1].parameters()}]
    return model, torch.optim.SGD(groups, lr=0.4)


def signs_of(rule, place):
    return AssignedSign().signs(rule.weights[place], RandomKey(rule.seed, 0, place)).numpy()


def test_all_values_get_the_signs_of_their_cells():
    model, optimizer = parts()
    before = [layer.weight.values.abs().detach().clone() for layer in model]
    rule = DeepR(model, optimizer, seed=5)
    for place, layer in enumerate(model):
        expected = before[place].numpy() * signs_of(rule, place)
        assert np.array_equal(layer.weight.values.detach(), expected)
        assert set(signs_of(rule, place)) == {-1, 1}


@pytest.mark.parametrize(
    "method", [partial(DeepR, temperature=0.01), partial(PeriodicDeepR, noise=0.1, every=1)]
)
def test_conductances_stay_positive(method):
    """Conductances have no sign, and a network with negative ones has no finite states."""
    network = SparseLTC(3, 12, density=0.4, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    before = [weight.nnz for weight in recurrent_weights(network)]
    rewiring = method(network, optimizer)
    changes = []
    rewiring.observers.append(lambda name, weight, rewired: changes.append(rewired.born.numel()))
    for _ in range(8):
        loss = network(torch.randn(4, 2, 3))[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        network.clip_()
        rewiring.step()
        assert loss.isfinite()
        assert all((weight.values >= 0).all() for weight in recurrent_weights(network))
    assert sum(changes) > 0
    assert [weight.nnz for weight in recurrent_weights(network)] == before


def test_the_pull_to_zero_has_the_learning_rate_of_its_group(links_of):
    model, optimizer = parts()
    rule = DeepR(model, optimizer, l1=0.5, temperature=0.0, seed=1)
    expected = []
    for place, (layer, rate) in enumerate(zip(model, (0.1, 0.4), strict=True)):
        signs = signs_of(rule, place)
        theta = layer.weight.values.detach().double().numpy() * signs - rate * 0.5
        kept = theta >= 0
        positions = layer.weight.pattern.links.positions().numpy()[kept].tolist()
        expected.append(dict(zip(positions, (theta * signs)[kept].tolist(), strict=True)))
    rule.step()
    for layer, survivors in zip(model, expected, strict=True):
        after = links_of(layer.weight)
        assert 0 < len(survivors) < len(after)
        born = after.keys() - survivors.keys()
        assert all(after[position] == 0 for position in born)
        for position, value in survivors.items():
            assert after[position] == pytest.approx(value, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("make", "spread"),
    [
        (lambda *p: DeepR(*p, l1=0.0, temperature=0.02), math.sqrt(2 * 0.1 * 0.02)),
        (lambda *p: PeriodicDeepR(*p, l1=0.0, noise=0.3, every=1), 0.3),
    ],
)
def test_the_noise_has_its_standard_deviation(make, spread):
    model = SparseLinear(200, 200, density=0.5)
    with torch.no_grad():
        model.weight.values.fill_(100.0)
    rule = make(model, torch.optim.SGD(model.parameters(), lr=0.1))
    start = model.weight.values.detach().clone()
    rule.step()
    steps = model.weight.values.detach() - start
    assert float(steps.std()) == pytest.approx(spread, rel=0.03)
    assert abs(float(steps.mean())) < 0.03 * spread
    again = model.weight.values.detach().clone()
    rule.step()
    assert abs(np.corrcoef(steps, model.weight.values.detach() - again)[0, 1]) < 0.03


def test_the_periodic_walk_does_not_know_the_learning_rate():
    model, _ = parts()
    rule = PeriodicDeepR(model, None, l1=0.02, noise=0.0, every=1)
    theta = model[0].weight.values.detach().abs()
    kept = theta > 0.02
    rule.step()
    values = model[0].weight.values.detach().abs()
    assert int((values > 0).sum()) == int(kept.sum()) < len(theta)
    torch.testing.assert_close(
        values[values > 0].sort().values, (theta[kept] - 0.02).sort().values, rtol=1e-5, atol=1e-7
    )


def test_links_that_stay_never_change_their_sign():
    model, optimizer = parts(lr=0.4)
    rule = DeepR(model, optimizer, l1=0.05, temperature=0.01)
    seen = [{}, {}]
    for _ in range(60):
        optimizer.zero_grad()
        model(torch.randn(16, 30)).square().mean().backward()
        optimizer.step()
        rule.step()
        for signs, layer in zip(seen, model, strict=True):
            positions = layer.weight.pattern.links.positions().tolist()
            for position, sign in zip(positions, layer.weight.values.sign().tolist(), strict=True):
                assert sign == 0 or signs.setdefault(position, sign) == sign
    assert all(len(signs) > layer.weight.nnz for signs, layer in zip(seen, model, strict=True))


def test_frozen_weights_are_left_alone():
    model, optimizer = parts()
    model[0].weight.frozen_pattern = True
    model[1].requires_grad_(False)
    before = [layer.weight.values.detach().clone() for layer in model]
    rule = DeepR(model, optimizer, l1=1.0, temperature=1.0)
    rule.step()
    for layer, values in zip(model, before, strict=True):
        assert torch.equal(layer.weight.values, values)
