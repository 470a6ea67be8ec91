"""Every network equals the equations of its cell: results, and the gradient of everything."""

import copy

import pytest
import torch
from contract.equations import EQUATIONS, Equations
from contract.networks import (
    FORMS,
    INPUTS,
    PACKABLE,
    TIMED,
    assert_same,
    begins,
    cell_of,
    make,
    outcome,
    weights_of,
)
from pairwise import pairwise
from testing import leaves_of
from torch import nn

from sparse_engine.nn import CELLS
from sparse_engine.ops import Solver

BOUNDS = {torch.float64: 1e-10, torch.float32: 2e-5}
STACKS = {
    "one layer": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"num_layers": 2, "batch_first": True},
    "batch first both ways": {"bidirectional": True, "batch_first": True},
    "segments": {"num_layers": 2, "checkpoint_every": 3},
    "segments both ways": {"bidirectional": True, "checkpoint_every": 2},
    "no bias": {"num_layers": 2, "bias": False},
    "sparse input": {"num_layers": 2, "input_density": 0.5, "bidirectional": True},
    "hardly any links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}
#: Steps, and sequences in the batch.
SHAPES = {
    "one step": (1, 1),
    "one sequence": (7, 1),
    "no batch": (7, None),
    "batch": (7, 5),
    "long": (30, 2),
    "wide": (3, 33),
    "panels": (2, 150),
}
#: From short to long and back, equal ones, more than one panel, and one step only.
LENGTHS = {
    "sorted": [9, 9, 4, 1],
    "unsorted": [2, 7, 7, 1, 5],
    "all of one": [3, 3],
    "one": [4],
    "many": [1 + 7 * n % 11 for n in range(150)],
    "one step": [1] * 20,
}


def makes_sense(case):
    """A state that is nearly at a limit is clipped in one order of sums only: no float32 there."""
    form = case["form"]
    if case.get("stack") == "no bias" and "bias" not in CELLS[cell_of(form)].options:
        return False
    return "clipped" not in form or case.get("dtype", "torch.float64") == "torch.float64"


def by_equations(form, network, leaves, **options):
    """Return the outcome by the equations, in double precision."""
    exact = copy.deepcopy(network).double()
    call = Equations(exact, EQUATIONS[cell_of(form)])
    return outcome(exact, [leaf.double() for leaf in leaves], call=call, **options)


def test_every_cell_has_equations():
    assert EQUATIONS.keys() == CELLS.keys()


def resets_of(x, share=0.3):
    """Where episodes begin, as options of a call; none without a share of the steps."""
    return {} if share is None else {"resets": begins(x, share)}


@pairwise(
    makes_sense,
    form=[*FORMS],
    stack=STACKS,
    shape=SHAPES,
    dtype=[*BOUNDS],
    initial=[True, False],
    begins=[None, 0.3, 1.0],
)
def test_results_and_gradients(form, stack, shape, dtype, initial, begins):
    network = make(form, dtype, **stack)
    leaves = leaves_of(network, *shape, initial=initial)
    given = resets_of(leaves[0], begins)
    wanted = by_equations(form, network, leaves, **given)
    assert_same(outcome(network, leaves, **given), wanted, BOUNDS[dtype])


def is_quick(case):
    return makes_sense(case) and not ("ltc" in case["form"] and case.get("shape") == "(9, 150)")


@pairwise(is_quick, form=[*FORMS], dtype=[*BOUNDS], shape=[(16, 20), (31, 9), (9, 150)])
def test_many_links(form, dtype, shape):
    """The CPU multiplies a few rows together where they have many links in common."""
    network = make(form, dtype, units=84, density=0.9, input_density=0.5)
    leaves = leaves_of(network, *shape)
    assert_same(outcome(network, leaves), by_equations(form, network, leaves), BOUNDS[dtype])


@pytest.mark.parametrize("cell", CELLS)
def test_wide_inputs(cell):
    """Dense input weights of many columns are multiplied before the time loop, others inside."""
    for inputs in (127, 128, 129, 300):
        network = CELLS[cell](inputs, 21, density=0.3, dtype=torch.float64)
        leaves = leaves_of(network, 3, 4)
        assert_same(outcome(network, leaves), by_equations(cell, network, leaves), 1e-10)


@pairwise(makes_sense, form=PACKABLE, stack=STACKS, lengths=LENGTHS, initial=[True, False])
def test_sequences_of_different_lengths(form, stack, lengths, initial):
    network = make(form, **stack)
    leaves = leaves_of(network, max(lengths) + 2, len(lengths), initial=initial)
    wanted = by_equations(form, network, leaves, lengths=lengths)
    assert_same(outcome(network, leaves, lengths=lengths), wanted, 1e-10)
    assert_same(outcome(network, leaves, call=packed(network, lengths)), wanted, 1e-10)


def packed(network, lengths):
    """Return the network on packed sequences, as one that takes and returns padded ones."""
    layout = {"batch_first": network.batch_first}

    def call(x, hx):
        sequences = nn.utils.rnn.pack_padded_sequence(x, lengths, **layout, enforce_sorted=False)
        y, final = network(sequences, hx)
        assert isinstance(y, nn.utils.rnn.PackedSequence)
        steps = x.shape[1 if network.batch_first else 0]
        return nn.utils.rnn.pad_packed_sequence(y, **layout, total_length=steps)[0], final

    return call


@pairwise(
    form=TIMED,
    stack={name: STACKS[name] for name in ("batch first", "two layers both ways", "segments")},
    of=["each step", "each input"],
    batch=[3, None],
    begins=[None, 0.3],
)
def test_timespans(form, stack, of, batch, begins):
    network = make(form, **stack)
    leaves = leaves_of(network, 5, batch)
    spans = torch.rand(5 if of == "each step" else leaves[0].shape[:-1], dtype=torch.float64)
    spans.flatten()[1] = 0
    given = resets_of(leaves[0], begins) | {"timespans": spans}
    wanted = by_equations(form, network, leaves, **given)
    assert_same(outcome(network, leaves, **given), wanted, 1e-10)


@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("form", ["rhn", "rhn, separate gates"])
def test_one_mask_drops_the_recurrent_state_of_a_sequence(form, every):
    """A captured factor has it, too."""
    network = make(form, recurrent_dropout=0.4, checkpoint_every=every)
    leaves = leaves_of(network, 7, 5)
    torch.manual_seed(1)
    mask = nn.functional.dropout(torch.ones(5, 21, dtype=torch.float64), 0.4)
    assert 0 < (mask == 0).sum() < mask.numel()
    call = Equations(network, EQUATIONS["rhn"], mask)
    for given in ({}, resets_of(leaves[0])):
        for weight in network.weight_hh_l0:
            weight.captured = [[]]
        torch.manual_seed(1)
        found = outcome(network, leaves, **given)
        factors = [weight.captured.pop() for weight in network.weight_hh_l0]
        assert_same(found, outcome(network, leaves, call=call, **given), 1e-10)
        for weight, pairs in zip(network.weight_hh_l0, factors, strict=True):
            weight.captured = None
            torch.testing.assert_close(sum(dy.T @ x for dy, x in pairs), call.gradients[weight])
    assert not torch.equal(network(*leaves)[0], network(*leaves)[0])
    assert_same(outcome(network.eval(), leaves), by_equations(form, network, leaves), 1e-10)


@pytest.mark.parametrize("form", [name for name in FORMS if name.startswith("normed")])
def test_norms_may_be_others(form):
    """The modules say which norms the network computes."""
    network = make(form)
    for of, norm in network.norm_l0.items():
        norm.eps = 0.3
        if of != "ih":
            network.norm_l0[of] = nn.LayerNorm(norm.normalized_shape, 0.2, False)
    leaves = leaves_of(network, 5, 3)
    assert_same(outcome(network, leaves), by_equations(form, network, leaves), 1e-10)


@pytest.mark.parametrize("form", [name for name in FORMS if "clipped" in name])
def test_states_reach_their_limit_and_stay_there(form):
    network = make(form)
    clipped = network(leaves_of(network, 9, 3)[0])[1]
    state = clipped[1] if isinstance(clipped, tuple) else clipped
    assert state.abs().max() == network.cell_clip
    unlimited = CELLS[cell_of(form)](INPUTS, 21, density=0.3, cell_clip=torch.inf)
    x = torch.randn(7, 3, INPUTS)
    y = unlimited(x)[0]
    unlimited.cell_clip = None
    assert torch.equal(unlimited(x)[0], y)


DROP_IN = [
    name
    for name in FORMS
    if CELLS[cell_of(name)].cell.dense_type and "normed" not in name and "clipped" not in name
]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pairwise(form=DROP_IN, stack=STACKS, shape=SHAPES, dtype=[*BOUNDS], initial=[True, False])
def test_results_and_gradients_are_those_of_torch(form, stack, shape, dtype, initial):
    network = make(form, dtype, **stack)
    dense = network.to_dense()
    assert type(dense) is CELLS[cell_of(form)].cell.dense_type
    leaves = leaves_of(network, *shape, initial=initial)
    wanted = outcome(dense, leaves)
    for name, weight in weights_of(network).items():
        wanted[f"{name}.values"] = wanted.pop(name)[weight.rows(), weight.col_indices.long()]
    assert_same(outcome(network, leaves), wanted, BOUNDS[dtype])


def test_a_solver_of_ones_own():
    class Midpoint(Solver):
        nodes = (0.0, 0.5)
        weights = (0.0, 1.0)

    coarse = make("neural_ode", solver=Midpoint(), dt=0.2, unfolds=2)
    fine = make("neural_ode", unfolds=200, dt=0.002)
    rough = make("neural_ode, Euler")
    x = leaves_of(coarse, 3, 2)[0]
    assert "solver=Midpoint()" in str(coarse)
    error = (coarse(x)[0] - fine(x)[0]).norm()
    assert error < 0.01 * fine(x)[0].norm()
    assert (rough(x)[0] - fine(x)[0]).norm() > 3 * error
