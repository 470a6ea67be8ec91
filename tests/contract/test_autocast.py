"""Networks under autocast: activations in bfloat16 where the cell can, parameters in float32."""

import pytest
import torch
from contract.networks import (
    FORMS,
    cell_of,
    forms_where,
    is_taken,
    make,
    mostly_exhaustive,
    outcome,
    run,
    weights_of,
)
from pairwise import pairwise
from testing import leaves_of
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import CELLS, DropConnect, SparseLinear

# The least multiple of 21 with a full vector of bfloat16 and a rest.
UNITS = 84
STACKS = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "both ways": {"bidirectional": True, "input_density": 0.5},
}
#: A state that is nearly at a limit, or at zero for a ReLU, is cut in one precision only.
KINDS = [form for form in FORMS if "clipped" not in form and "relu" not in form]
NARROW = [form for form in KINDS if make(form).keeps_bfloat16("cpu")]
EVERY = pytest.mark.parametrize("form", NARROW)


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def network_of(form, **options):
    return make(form, torch.float32, units=UNITS, **options)


def relative(own, other):
    own, other = own.detach().double(), other.detach().double()
    return float((own - other).norm() / other.norm().clamp(min=1e-30))


def rounded(network, leaves, **options):
    """Return the outcome under autocast, where only the forward pass is."""
    with autocast():
        return outcome(network, leaves, **options)


def test_a_cell_says_what_it_keeps():
    for form in FORMS:
        entry = CELLS[cell_of(form)]
        assert make(form).keeps_bfloat16("cpu") == (
            "cpu" in entry.cell.bf16_devices and not form.startswith("normed")
        )


GIVEN = {
    "nothing": lambda *_: {},
    "resets": lambda steps, batch: {"resets": torch.rand(steps, batch) < 0.3},
    "lengths": lambda steps, batch: {"lengths": [steps - 5 * n % steps for n in range(batch)]},
    "timespans": lambda steps, batch: {"timespans": torch.rand(steps, batch)},
}


@pairwise(is_taken, form=KINDS, given=GIVEN, batch=[1, 5, 20, 64], stack=STACKS)
def test_close_to_float32(form, given, batch, stack):
    network = network_of(form, **stack)
    leaves = leaves_of(network, 12, batch, initial=False)
    given = given(12, batch)
    exact, found = outcome(network, leaves, **given), rounded(network, leaves, **given)
    narrow = torch.bfloat16 if form in NARROW else torch.float32
    dtypes = [found[f"result {i}"].dtype for i in range(1 + len(network.states))]
    assert dtypes[0] == narrow
    # What adds up over many steps is not rounded where it leaves the network.
    in_time = network.cell.timed or cell_of(form) == "ltc"
    assert dtypes[1] == (torch.float32 if in_time else narrow)
    assert all(each == torch.float32 for each in dtypes[2:])
    for name, wanted in exact.items():
        assert "result" in name or found[name].dtype == torch.float32
        assert relative(found[name], wanted) < (0.01 if "result" in name else 0.1), name


@EVERY
def test_other_layers_steps_states_and_dropped_links(form):
    """What a model does around a network: each takes activations of either dtype."""
    network, layer = network_of(form), SparseLinear(UNITS, 200, density=0.2)
    x, dropping = torch.randn(6, 3, network.input_size), DropConnect(network, 0.4)
    readout, last = nn.Linear(network.size_of("h0"), 6), network_of("lstm")
    torch.manual_seed(4)
    exact = dropping(x)[0]
    with autocast():
        torch.manual_seed(4)
        assert relative(dropping(x)[0], exact) < 0.01
        y, *states = run(network, x)
        again, *_ = run(network, x, *states)
        other, *_ = run(network, x, *(each.float() for each in states))
        assert torch.equal(again, other) and not torch.equal(again, y)
        state = None
        for step, wanted in zip(x, y, strict=True):
            found, state = network.step(step, state)
            assert relative(found, wanted) <= 2**-8
        layer(last(readout(y))[0]).float().square().mean().backward()
    for name, parameter in network.named_parameters():
        assert 0 < parameter.grad.norm() < torch.inf, name


@mostly_exhaustive("form", NARROW, "lstm")
def test_compiled_and_exported(form):
    torch._dynamo.reset()
    network = network_of(form)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    leaves = leaves_of(network, 5, 3, initial=False)
    found, wanted = rounded(network, leaves, call=compiled), rounded(network, leaves)
    assert torch.equal(found["result 0"], wanted["result 0"])
    for name, other in wanted.items():
        if form.startswith("ltc"):  # whose leaks and gains have sums of torch where compiled
            assert_close(found[name], other)
        else:
            assert torch.equal(found[name], other), name
    with autocast(), torch.no_grad():
        program = torch.export.export(network, tuple(leaves))
        assert torch.equal(program.module()(*leaves)[0], network(*leaves)[0])


@EVERY
def test_computed_again_in_segments(form):
    """Gradients are rounded once more where a segment ends, and what GRU, MGU and RHN carry is."""
    dropped = {"recurrent_dropout": 0.3} if form.startswith("rhn") else {}
    network = network_of(form, **dropped)
    leaves = leaves_of(network, 7, 20, initial=False)

    def found(every):
        network.checkpoint_every = every
        torch.manual_seed(4)
        return rounded(network, leaves)

    whole, again = found(None), found(3)
    bound = 2**-8 if cell_of(form) in ("gru", "mgu", "rhn") else 0
    for name, wanted in whole.items():
        assert relative(again[name], wanted) <= (bound if "result" in name else 2**-7), name


@pytest.mark.parametrize("form", KINDS)
def test_float16_is_not_what_they_keep(form):
    network = network_of(form)
    x = torch.randn(5, 3, network.input_size)
    exact = network(x)[0]
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(network(x)[0], exact)
    if form not in NARROW:
        with autocast():
            assert torch.equal(network(x)[0], exact)


IN_TIME = [form for form in NARROW if cell_of(form) in ("ctrnn", "neural_ode", "ltc")]


@pytest.mark.parametrize("form", IN_TIME)
@pytest.mark.parametrize("batch", [1, 20])
def test_what_goes_on_from_part_to_part_of_a_sequence_is_not_rounded(form, batch):
    network = network_of(form)
    x, state = leaves_of(network, 6, batch)
    with autocast():
        whole, last = network(x, state)
        parts = []
        for part in x.split(2):
            y, state = network(part, state)
            parts.append(y)
    assert torch.equal(torch.cat(parts), whole) and torch.equal(state, last)


GROWING = forms_where(lambda entry: entry.cell.gradient_growth)


def captured(network):
    """Return the dense gradient of each weight, from the factors captured since the last call."""
    gradients = {}
    for name, weight in weights_of(network).items():
        (pairs,) = weight.captured or [[]]
        gradients[name] = sum(dy.float().T @ x.float() for dy, x in pairs)
        weight.captured = [[]]
    return gradients


@pairwise(is_taken, form=[form for form in NARROW if form in GROWING], given=GIVEN)
def test_what_is_captured(form, given):
    """The dense gradient, and results that are those without a capture."""
    network, given = network_of(form, num_layers=2), given(7, 3)
    leaves = leaves_of(network, 7, 3, initial=False)
    plain = rounded(network, leaves, **given)
    captured(network)
    outcome(network, leaves, **given)
    exact = captured(network)
    results = rounded(network, leaves, **given)
    for name, found in captured(network).items():
        assert relative(found, exact[name]) < 0.03, name
    for name in ("result 0", "result 1"):
        assert results[name].dtype == plain[name].dtype
        assert relative(results[name], plain[name]) < 0.01


@pytest.mark.parametrize("inputs", [200, 300])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_many_inputs(cell, inputs):
    """Dense input weights of many columns are multiplied before the time loop."""
    network = CELLS[cell](inputs, 70, density=0.3)
    leaves = leaves_of(network, 12, 20, initial=False)
    exact = outcome(network, leaves)
    for name, found in rounded(network, leaves).items():
        assert relative(found, exact[name]) < 0.03, name
