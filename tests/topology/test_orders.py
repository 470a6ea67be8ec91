"""Orders of calls around a rewiring, and models and optimizers of every make, for SET and RigL."""

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


def cleared_after_the_step(model, optimizer, rule):
    for x in DATA:
        loss_of(model, x).backward()
        optimizer.step()
        optimizer.zero_grad()
        rule.step()


def accumulated(model, optimizer, rule):
    for x in DATA:
        optimizer.zero_grad()
        for part in x.split(4):
            (loss_of(model, part) / 4).backward()
        optimizer.step()
        rule.step()


def evaluating_between(model, optimizer, rule):
    for x in DATA:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        with torch.no_grad():
            loss_of(model, DATA[0])
        loss_of(model, DATA[1])
        rule.step()


def skipping(overflow):
    """A step that the scaler skips leaves no trace."""

    def loop(model, optimizer, rule):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for x in [*DATA[:overflow], torch.full_like(DATA[0], torch.inf), *DATA[overflow:]]:
            optimizer.zero_grad()
            scaler.scale(loss_of(model, x)).backward()
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            (rule.skip if scaler.get_scale() < scale else rule.step)()

    return loop


# 3: the very step before a rewiring, whose gradient RigL looks at.
LOOPS = [cleared_after_the_step, accumulated, evaluating_between, *map(skipping, (0, 3, 5))]


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_that_say_the_same_end_alike(method, loop):
    plain, model = network(), network()
    optimizers = [adam(plain), adam(model)]
    train(plain, optimizers[0], method(plain, optimizers[0]))
    rule = method(model, optimizers[1])
    loop(model, optimizers[1], rule)
    assert rule.steps == len(DATA)
    assert_same(plain, model, exactly=loop is not accumulated)


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
    batches = [x.double() for x in DATA[:2]]
    for x in batches:
        loss_of(model, x).backward()
    dense = layer.weight.to_dense().detach().requires_grad_()
    sum((torch.tanh(x @ dense.T) @ dense.T).square().mean() for x in batches).backward()
    assert len(rule.weights) == 1 and len(layer.weight.captured[0]) == 4
    seen = []
    rule.observers.append(lambda name, weight, rewired: seen.append(rewired))
    rule.step()
    (rewired,) = seen
    positions = rewired.links.positions()
    born = torch.zeros(positions.numel(), dtype=torch.bool)
    born[rewired.born.long()] = True
    dense.grad.view(-1)[positions[~born]] = 0
    strongest = dense.grad.abs().flatten().argsort(descending=True)[: int(born.sum())]
    assert layer.weight.topology_version == 1 and born.any()
    assert {*positions[born].tolist()} == {*strongest.tolist()}


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
