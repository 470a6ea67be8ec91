"""RTRL is backpropagation through time, for every cell whose step is elementwise in units."""

import collections
from contextlib import contextmanager

import pytest
import torch
from contract.networks import FORMS, INPUTS, UNITS, make
from torch.testing import assert_close

from sparse_engine import online
from sparse_engine.ops._dispatch.private import TorchDispatchMode

STEPS, LANES = 9, 3

#: Why the others are refused.
REFUSED = {
    "on_lstm": "elementwise",
    "ltc": "ConductanceWeight",
    "normed": "layer_norm",
    "lstm, projected": "projection",
    "lif, refractory": "found d0 of 42",
}


def reason(form):
    return next((why for name, why in REFUSED.items() if form.startswith(name)), None)


@pytest.fixture
def counted_operations():
    """A context whose value counts native operations by name."""

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), options=None):
            calls[operation.name().split("::")[1].split(".")[0]] += 1
            return operation(*arguments, **(options or {}))

    calls = collections.Counter()

    @contextmanager
    def counting():
        with Counter():
            yield calls

    return counting


LEARNABLE = [form for form in FORMS if reason(form) is None]


def data(seed=1):
    generator = torch.Generator().manual_seed(seed)
    like = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(STEPS, LANES, INPUTS, **like)
    upstream = torch.randn(STEPS, LANES, UNITS, **like)
    upstream[STEPS // 2 :, 0] = 0  # the first sequence ends earlier
    resets = torch.rand(STEPS, LANES, generator=generator) < 0.2
    return x, upstream, resets


def gradients(network):
    found = {name: each.grad for name, each in network.named_parameters()}
    network.zero_grad()
    return found


def through_time(network, x, upstream, **options):
    network.zero_grad()
    y, _ = network(x, **options)
    (y * upstream).sum().backward()
    return y.detach(), gradients(network)


def by_steps(learner, x, upstream, resets=None, **options):
    learner.network.zero_grad()
    outputs = []
    for t, each in enumerate(x):
        given = {} if resets is None else {"resets": resets[t]}
        y = learner.step(each, **given, **{name: of[t] for name, of in options.items()})
        learner.backward((y * upstream[t]).sum())
        outputs.append(y.detach())
    return torch.stack(outputs), gradients(learner.network)


def assert_gradients(found, wanted, bound=1e-10):
    assert found.keys() == wanted.keys()
    for name, each in wanted.items():
        assert each.abs().max() > 0, name
        assert_close(found[name], each, rtol=bound, atol=bound, msg=name)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("form", LEARNABLE)
def test_gradients_are_those_of_backpropagation_through_time(form, layers):
    """With episodes that begin in the middle, and sequences that end at different steps."""
    network = make(form, num_layers=layers)
    x, upstream, resets = data()
    y, wanted = through_time(network, x, upstream, resets=resets)
    outputs, found = by_steps(online.RTRL(network), x, upstream, resets)
    assert_close(outputs, y, rtol=0, atol=1e-12)
    assert_gradients(found, wanted)


@pytest.mark.parametrize("options", [{"input_density": 0.4}, {"bias": False}, {"density": 0.02}])
def test_gradients_with_sparse_inputs_without_biases_and_with_few_links(options):
    network = make("gru", **options)
    x, upstream, _ = data()
    _, wanted = through_time(network, x, upstream)
    assert_gradients(by_steps(online.RTRL(network), x, upstream)[1], wanted)


@pytest.mark.parametrize("form", ["rnn, relu", "lstm", "gru", "mgu", "rate_rnn, groups"])
def test_steps_without_a_loss_and_the_operation_of_one_product(form, counted_operations):
    """A loss now and then has the gradient of that loss, and panels have run."""
    network = make(form, unfolds=1) if form.startswith("rate") else make(form)
    x, upstream, resets = data()
    upstream[::2] = 0
    _, wanted = through_time(network, x, upstream, resets=resets)
    learner = online.RTRL(network)
    with counted_operations() as calls:
        for t, each in enumerate(x):
            learner.step(each, resets=resets[t])
            if t % 2:
                learner.backward(upstream[t])
    assert calls["influence"] >= len(x) - 1
    assert_gradients(gradients(network), wanted)


def test_weights_that_change_before_the_next_step_do_not_change_the_step():
    network = make("rnn")
    x, upstream, _ = data()
    late, early = online.RTRL(network), online.RTRL(network)
    values = network.weight_hh_l0.values
    for t in (0, 1, 2):
        network.zero_grad()
        late.step(x[t])
        early.step(x[t])
        early.state_dict()  # carries the influence over the step
        with torch.no_grad():
            values += 0.1
        late.backward(upstream[t])
        found = gradients(network)
        early.backward(upstream[t])
        assert_close(found, gradients(network))


def test_entries_in_several_blocks(monkeypatch):
    network = make("lstm", num_layers=2)
    x, upstream, _ = data()
    _, wanted = through_time(network, x, upstream)
    monkeypatch.setattr("sparse_engine.online._influence.BLOCK", 5 * UNITS)
    assert_gradients(by_steps(online.RTRL(network), x, upstream)[1], wanted)


def test_timespans():
    network = make("ctrnn")
    x, upstream, _ = data()
    spans = torch.rand(STEPS, LANES, dtype=torch.float64) + 0.1
    _, wanted = through_time(network, x, upstream, timespans=spans)
    found = by_steps(online.RTRL(network), x, upstream, timespans=spans)[1]
    assert_gradients(found, wanted)


def test_zoneout_in_evaluation():
    network = make("lstm", zoneout=(0.3, 0.1)).eval()
    x, upstream, _ = data()
    _, wanted = through_time(network, x, upstream)
    assert_gradients(by_steps(online.RTRL(network), x, upstream)[1], wanted)


def test_parameters_without_gradients_have_no_influence():
    network = make("rnn")
    network.weight_hh_l0.values.requires_grad_(False)
    x, upstream, _ = data()
    _, wanted = through_time(network, x, upstream)
    learner = online.RTRL(network)
    assert not any("weight_hh" in name for name in learner.state_dict())
    _, found = by_steps(learner, x, upstream)
    assert found.pop("weight_hh_l0.values") is None and wanted.pop("weight_hh_l0.values") is None
    assert_gradients(found, wanted)


def test_a_gradient_of_the_output_in_place_of_a_loss():
    network = make("mgu", num_layers=2)
    x, upstream, _ = data()
    _, wanted = through_time(network, x, upstream)
    learner = online.RTRL(network)
    for each, of_y in zip(x, upstream, strict=True):
        learner.step(each)
        learner.backward(of_y)
    assert_gradients(gradients(network), wanted)


def test_a_readout_learns_by_autograd():
    network, readout = make("rnn"), torch.nn.Linear(UNITS, 2, dtype=torch.float64)
    x, _, _ = data()
    parameters = [*network.parameters(), *readout.parameters()]
    wanted = torch.autograd.grad(readout(network(x)[0]).square().sum(), parameters)
    learner = online.RTRL(network)
    for each in x:
        learner.backward(readout(learner.step(each)).square().sum())
    assert_close([each.grad for each in parameters], [*wanted])


@pytest.mark.parametrize("form", [form for form in FORMS if reason(form)])
@pytest.mark.parametrize("method", [online.RTRL, online.SnAp, online.EProp])
def test_other_cells_are_refused(form, method):
    with pytest.raises(ValueError, match=reason(form)):
        method(make(form))
