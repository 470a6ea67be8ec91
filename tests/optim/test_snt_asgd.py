"""SNT-ASGD: averages against full histories and a dense matrix, the trigger, and evaluation."""

import copy
from math import nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import assert_valid, awkward_patterns, random_pattern, refusals
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseLTC, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.optim import SNTASGD, AveragedLinks
from sparse_engine.topology import DSR, SET, GradualPruning, NormalInit, SignedMagnitude


def trigger(optimizer):
    """Makes averaging begin, whatever ``nonmono`` is."""
    while not optimizer.observe(len(optimizer.param_groups[0]["losses"])):
        assert len(optimizer.param_groups[0]["losses"]) < 100
    return optimizer


def cells_of(weight):
    return weight.pattern.links.positions().tolist()


def averages_of(optimizer, *parameters):
    with optimizer.averaged():
        return [parameter.detach().clone() for parameter in parameters]


def literal_average(history, value):
    """The mean from the second step on; of one step its value; of none the value now."""
    return np.mean(history[1:]) if len(history) > 1 else history[0] if history else value


class Histories:
    """Every value that each link and each entry of a bias has had since it came to be."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias
        self.of_links = {cell: [] for cell in cells_of(weight)}
        self.of_bias = [[] for _ in bias]

    def record(self):
        for cell, value in zip(cells_of(self.weight), self.weight.values.tolist(), strict=True):
            self.of_links[cell].append(value)
        for history, value in zip(self.of_bias, self.bias.tolist(), strict=True):
            history.append(value)

    def rewire(self, rule):
        keep = ~SignedMagnitude().drop(
            self.weight, rule.fractions.at(rule.steps_taken), RandomKey(0)
        )
        survivors = self.weight.pattern.links.positions()[keep].tolist()
        rule.rewire()
        kept = {cell: self.of_links[cell] for cell in survivors}
        self.of_links = {cell: kept.get(cell, []) for cell in cells_of(self.weight)}

    def averages(self):
        cells, values = cells_of(self.weight), self.weight.values.tolist()
        links = [
            literal_average(self.of_links[cell], value)
            for cell, value in zip(cells, values, strict=True)
        ]
        bias = map(literal_average, self.of_bias, self.bias.tolist())
        return [
            torch.tensor(links, dtype=torch.float64),
            torch.tensor(list(bias), dtype=torch.float64),
        ]


PATTERNS = awkward_patterns() | {"98 %": random_pattern(50, 40, 1960, seed=3)}


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=10)
@given(data=st.data())
def test_average_is_the_mean_of_the_full_history(name, data):
    pattern = PATTERNS[name]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))

    def normal(size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    weight = SparseWeight(normal(pattern.nnz), pattern)
    bias = nn.Parameter(normal(3))
    optimizer = SNTASGD([*weight.parameters(), bias], lr=0.3, weight_decay=0.1, nonmono=1)
    fraction = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    new_links = data.draw(st.sampled_from([None, NormalInit(1.0)]))
    rule = SET(
        weight, optimizer, fraction=fraction, new_links=new_links, seed=data.draw(st.integers(0, 9))
    )
    histories = Histories(weight, bias)
    actions = st.sampled_from(["step", "step", "rewire"])
    for begun in (False, True):
        for action in data.draw(st.lists(actions, max_size=8)):
            if action == "rewire":
                rule.steps_taken += 1
                histories.rewire(rule)
            else:
                weight.values.grad, bias.grad = normal(pattern.nnz), normal(3)
                optimizer.step()
                if begun:
                    histories.record()
            found = averages_of(optimizer, weight.values, bias)
            assert_close(found, histories.averages(), rtol=1e-12, atol=1e-12)
        if not begun:
            trigger(optimizer)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_plain_sgd_before_and_after_the_trigger(weight_decay):
    model = nn.Sequential(SparseLinear(8, 20, density=0.4), nn.Tanh(), nn.Linear(20, 3))
    twin = copy.deepcopy(model)
    optimizer = SNTASGD(model.parameters(), lr=0.2, weight_decay=weight_decay)
    sgd = torch.optim.SGD(twin.parameters(), lr=0.2, weight_decay=weight_decay)
    for step in range(10):
        x = torch.randn(6, 8)
        for network, stepper in ((model, optimizer), (twin, sgd)):
            stepper.zero_grad()
            network(x).square().mean().backward()
            stepper.step()
        if step == 4:
            assert not optimizer.state
            trigger(optimizer)
    assert optimizer.state
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_group_added_after_the_trigger_is_averaged_too():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = trigger(SNTASGD([a], lr=1.0, nonmono=0))
    optimizer.add_param_group({"params": b, "lr": 2.0})
    for _ in range(3):
        b.grad = torch.ones(2)
        optimizer.step()
    assert averages_of(optimizer, a, b)[1].tolist() == [-4.0, -4.0]


def literal_trigger(losses, nonmono):
    """The position of the loss that triggers, or None."""
    for t, loss in enumerate(losses):
        if t > nonmono and loss > min(losses[: t - nonmono]):
            return t
    return None


@given(
    losses=st.lists(st.integers(0, 6) | st.just(float("inf")), max_size=20),
    nonmono=st.integers(0, 7),
)
def test_trigger_is_the_literal_rule_and_happens_once(losses, nonmono):
    optimizer = SNTASGD([nn.Parameter(torch.ones(1))], lr=0.1, nonmono=nonmono)
    found = [optimizer.observe(torch.tensor(float(loss))) for loss in losses]
    expected = literal_trigger(losses, nonmono)
    assert [t for t, begun in enumerate(found) if begun] == ([] if expected is None else [expected])
    assert optimizer.averaging == (expected is not None)


def averaging_layer(steps=3):
    layer = SparseLinear(12, 9, density=0.3)
    optimizer = trigger(SNTASGD(layer.parameters(), lr=0.1, nonmono=0))
    for _ in range(steps):
        layer(torch.randn(5, 12)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer, optimizer


def test_averaged_puts_the_own_values_back_bit_for_bit():
    layer, optimizer = averaging_layer()
    before = copy.deepcopy(layer.state_dict())
    storage = layer.weight.values.data_ptr()
    x = torch.randn(5, 12)
    outside = layer(x)
    with optimizer.averaged():
        inside = layer(x)
        assert torch.equal(layer.weight.values, optimizer.state[layer.weight.values]["average"])
        assert torch.equal(layer.bias, optimizer.state[layer.bias]["average"])
    assert not torch.equal(inside, outside)
    with pytest.raises(KeyError), optimizer.averaged(), optimizer.averaged():
        assert torch.equal(layer(x), inside)
        raise KeyError
    assert layer.weight.values.data_ptr() == storage
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_averaged_before_the_trigger_and_for_parameters_without_gradients():
    layer = SparseLinear(12, 9, density=0.3)
    optimizer = SNTASGD(layer.parameters(), lr=0.1, nonmono=0)
    before = layer.weight.to_dense()
    with optimizer.averaged():
        assert torch.equal(layer.weight.to_dense(), before)
    trigger(optimizer)
    layer.bias.grad = torch.ones(9)
    optimizer.step()
    with optimizer.averaged():
        assert torch.equal(layer.weight.to_dense(), before)
    assert layer.weight.values not in optimizer.state


def test_evaluation_under_inference_mode():
    layer, optimizer = averaging_layer()
    before = layer.weight.to_dense()
    with torch.inference_mode(), optimizer.averaged():
        layer(torch.randn(5, 12))
    assert torch.equal(layer.weight.to_dense(), before)
    layer(torch.randn(5, 12)).sum().backward()
    optimizer.step()


def test_a_copy_of_the_optimizer_goes_on_alone():
    layer, optimizer = averaging_layer()
    twin_layer, twin = copy.deepcopy((layer, optimizer))
    assert twin.averaging
    before, saved = averages_of(optimizer, layer.bias), twin.state_dict()
    twin_layer.bias.grad = torch.ones(9)
    twin.step()
    twin.observe(0.5)
    assert_close(averages_of(optimizer, layer.bias), before, rtol=0, atol=0)
    assert 0.5 not in optimizer.param_groups[0]["losses"] + saved["param_groups"][0]["losses"]
    assert 0.5 in twin.param_groups[0]["losses"]


def of_one(dtype=torch.float32, **arguments):
    return lambda: SNTASGD([nn.Parameter(torch.ones(1, dtype=dtype))], **arguments)


test_arguments_that_do_not_fit_are_refused = refusals(
    ("expected lr of at least 0, found -1", of_one(lr=-1)),
    ("expected lr of at least 0, found nan", of_one(lr=nan)),
    ("expected weight_decay of at least 0, found -0.5", of_one(lr=1, weight_decay=-0.5)),
    ("expected nonmono of at least 0, found -1", of_one(lr=1, nonmono=-1)),
    *(
        (f"parameters of float32 or float64, .* {dtype}", of_one(dtype, lr=0.1))
        for dtype in (torch.bfloat16, torch.float16, torch.complex64)
    ),
)


def test_a_loss_that_is_nan_is_refused_and_not_recorded():
    optimizer = SNTASGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="expected a validation loss that is a number, found nan"):
        optimizer.observe(nan)
    assert optimizer.param_groups[0]["losses"] == []


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = SparseLTC(4, 20, density=0.3)
        self.norm = nn.BatchNorm1d(20)
        self.head = SparseLinear(20, 3, density=0.3)

    def forward(self, x):
        return self.head(self.norm(self.rnn(x)[0][-1]))


METHODS = {
    "SET": lambda m, o, **k: SET(m, o, every=2, new_links=NormalInit(0.1), **k),
    "DSR": lambda m, o, **k: DSR(m, o, every=2, threshold=0.05, **k),
    "GradualPruning": lambda m, o, **k: GradualPruning(
        m, o, density=0.1, first=0, last=20, every=2, **k
    ),
}

#: The next average of an entry from the last, its value, and the number of averages so far.
AVERAGES = {
    "ema": ({"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, lambda a, w, n: 0.9 * a + 0.1 * w),
    "swa": ({}, lambda a, w, n: (n * a + w) / (n + 1)),
}


def dense_of(model):
    """Every weight as a matrix, with nan where there is no link."""
    found = {}
    for name, weight in model.named_modules():
        if isinstance(weight, SparseWeight):
            at = (weight.pattern.links.positions(),)
            for each in weight.link_parameters:
                blank = torch.full((weight.shape[0] * weight.shape[1],), torch.nan)
                found[name, each] = blank.index_put(at, getattr(weight, each).detach())
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", AVERAGES)
def test_averages_of_a_dense_matrix(kind, method):
    options, mean = AVERAGES[kind]
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    averaged = AveragedModel(model, **options)
    born = {}

    def note(name, weight, rewired):
        born[name] = weight.pattern.links.positions()[rewired.born.long()]

    observers = (note, AveragedLinks(model, averaged))
    rewiring = METHODS[method](model, optimizer, observers=observers)
    expected = {}
    for n in range(12):
        optimizer.zero_grad()
        model(torch.randn(5, 6, 4)).square().mean().backward()
        optimizer.step()
        if rewiring.step():
            for key, now in dense_of(model).items():
                expected[key] = torch.where(now.isnan(), torch.nan, expected[key])
                expected[key][born[key[0]]] = now[born[key[0]]]
        averaged.update_parameters(model)
        for key, now in dense_of(model).items():
            expected[key] = mean(expected[key], now, n) if n else now
        found = dense_of(averaged.module)
        torch.testing.assert_close(found, expected, equal_nan=True)
    assert any(map(len, born.values())) == (method != "GradualPruning")
    for weight in averaged.modules():
        if isinstance(weight, SparseWeight):
            assert_valid(weight)
    update_bn([torch.randn(5, 6, 4)], averaged)
    SET(model, None).rewire()
    torch.testing.assert_close(dense_of(averaged.module), found, equal_nan=True)


def test_averages_that_cannot_follow():
    model = Network()
    with pytest.raises(ValueError, match="use_buffers=False"):
        AveragedLinks(model, AveragedModel(model, use_buffers=True))
    averaged = AveragedModel(model)
    with pytest.raises(ValueError, match=r"expected averages of module\.rnn"):
        AveragedLinks(nn.ModuleDict({"module": model}), averaged)
    SET(model, None).rewire()
    with pytest.raises(ValueError, match="with the same links"):
        AveragedLinks(model, averaged)
