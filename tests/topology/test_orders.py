"""Orders of calls around a rewiring, and models and optimizers of every make, for SET and RigL."""

import itertools

import pytest
import torch
from testing import assert_valid
from torch import nn

from sparse_engine.nn import SparseLinear
from sparse_engine.topology import SET, RigL

METHODS = {
    "SET": lambda m, o: SET(m, o, fraction=0.3, every=4, seed=3),
    "RigL": lambda m, o: RigL(m, o, steps=1000, every=4, seed=3),
}
DATA = [torch.randn(16, 20, generator=torch.Generator().manual_seed(i)) for i in range(12)]


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def network(seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = [SparseLinear(20, 20, density=0.2, generator=generator) for _ in range(2)]
    return nn.Sequential(layers[0], nn.Tanh(), layers[1]).double()


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def loss_of(model, x):
    return model(x.double()).square().mean()


def train(model, optimizer, rule, data=DATA):
    for x in data:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        rule.step()


def assert_same(model, other, exactly=True):
    tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-9, "atol": 1e-12}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, **tolerance, msg=name)


def trained(method):
    model = network()
    optimizer = adam(model)
    train(model, optimizer, method(model, optimizer))
    return model


def dense_gradient(weight, run):
    """The gradient at every position: that of the same loss with a dense matrix."""
    dense = weight.to_dense().detach().requires_grad_()
    run(lambda x: x @ dense.T).backward()
    return dense.grad


def grown_by(rule, weight):
    """The positions that the next rewiring of a weight grows and those that survive it."""
    seen = []
    rule.observers.append(lambda name, which, rewired: seen.append((which, rewired)))
    rule.step()
    (rewired,) = [rewired for which, rewired in seen if which is weight]
    positions = rewired.links.positions()
    born = torch.zeros(positions.numel(), dtype=torch.bool)
    born[rewired.born.long()] = True
    return set(positions[born].tolist()), set(positions[~born].tolist())


def strongest(gradient, kept, count):
    positions = gradient.abs().flatten().argsort(descending=True).tolist()
    return set(
        itertools.islice((position for position in positions if position not in kept), count)
    )


def test_gradients_are_cleared_before_or_after_the_rewiring(method):
    model = network()
    optimizer = adam(model)
    rule = method(model, optimizer)
    for x in DATA:
        loss_of(model, x).backward()
        optimizer.step()
        optimizer.zero_grad()
        rule.step()
    assert_same(trained(method), model)


def test_accumulated_gradients_make_one_step(method):
    model = network()
    optimizer = adam(model)
    rule = method(model, optimizer)
    for x in DATA:
        optimizer.zero_grad()
        for part in x.split(4):
            (loss_of(model, part) / 4).backward()
        optimizer.step()
        rule.step()
    assert rule.steps == len(DATA)
    assert_same(trained(method), model, exactly=False)


def test_growth_by_accumulated_gradients_is_literal():
    layer = SparseLinear(20, 20, bias=False, density=0.2, dtype=torch.float64)
    rule = RigL(layer, None, steps=1000, every=1)
    batches = [x.double() for x in DATA[:3]]
    for x in batches:
        layer(x).pow(3).sum().backward()
    gradient = dense_gradient(layer.weight, lambda f: sum(f(x).pow(3).sum() for x in batches))
    born, kept = grown_by(rule, layer.weight)
    assert born and born == strongest(gradient, kept, len(born))


# 3: the very step before a rewiring, whose gradient RigL looks at.
@pytest.mark.parametrize("overflow", [0, 3, 5])
def test_a_step_that_the_scaler_skipped_leaves_no_trace(method, overflow):
    model = network()
    optimizer = adam(model)
    rule, scaler = method(model, optimizer), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    data = [*DATA[:overflow], torch.full_like(DATA[0], torch.inf), *DATA[overflow:]]
    for x in data:
        optimizer.zero_grad()
        scaler.scale(loss_of(model, x)).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() < scale:
            rule.skip()
        else:
            rule.step()
    assert rule.steps == len(DATA)
    assert_same(trained(method), model)


def test_several_parameter_groups(method):
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    train(model, optimizer, method(model, optimizer))
    assert_same(trained(method), model)


def test_an_optimizer_for_each_weight_in_turn(method):
    # A rewiring knows one optimizer; state of another one would stay with the old links.
    model, together = network(), network()
    parts = [[*model[i].parameters()] for i in (0, 2)]
    rule = method(model, None)
    optimizers = [torch.optim.SGD(part, lr=0.1) for part in parts]
    for x in DATA:
        model.zero_grad()
        loss_of(model, x).backward()
        for optimizer in optimizers:
            optimizer.step()
        rule.step()
    one = torch.optim.SGD(together.parameters(), lr=0.1)
    train(together, one, method(together, one))
    assert_same(together, model)


def test_a_weight_that_is_used_twice_is_rewired_once_by_the_sum_of_its_gradients():
    layer = SparseLinear(20, 20, bias=False, density=0.2, dtype=torch.float64)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    rule = RigL(model, None, steps=1000, every=1)
    x = DATA[0].double()
    loss_of(model, x).backward()
    gradient = dense_gradient(layer.weight, lambda f: f(torch.tanh(f(x))).square().mean())
    assert len(rule.weights) == 1 and len(layer.weight.captured[0]) == 2
    born, kept = grown_by(rule, layer.weight)
    assert layer.weight.topology_version == 1
    assert born and born == strongest(gradient, kept, len(born))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_state_that_begins_late(method, momentum):
    # Neither optimizer has state before its first step, one of them never.
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    rule = method(model, optimizer)
    for _ in range(4):
        loss_of(model, DATA[0]).backward()
        rule.step()
    assert model[0].weight.topology_version == 1 and not optimizer.state
    train(model, optimizer, rule)
    assert model[0].weight.topology_version == 4
    for layer in (model[0], model[2]):
        assert_valid(layer.weight)
        buffer = optimizer.state[layer.weight.values].get("momentum_buffer")
        assert (buffer is None) == (momentum == 0)
        assert buffer is None or buffer.shape == (layer.weight.nnz,)


def test_lbfgs_is_refused():
    model = network()
    with pytest.raises(ValueError, match="one entry of state per link, found LBFGS"):
        SET(model, torch.optim.LBFGS(model.parameters()))


def test_evaluating_between_steps_is_not_noted(method):
    model = network()
    optimizer = adam(model)
    rule = method(model, optimizer)
    for x in DATA:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        with torch.no_grad():
            loss_of(model, DATA[0])
        loss_of(model, DATA[1])
        rule.step()
    assert_same(trained(method), model)
