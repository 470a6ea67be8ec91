"""The plain recurrence in exact numbers, and all operations at infinity, NaN and zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels.sequences import FORMS, cast, check, leaves_of, outcome, with_leaves
from pairwise import pairwise
from testing import as_tuple, integers, patterns, random_pattern, sizes, square_patterns
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.ops import Synapses

RELU = {"rnn, relu": {}, "rnn, dense input": {"nonlinearity": "relu"}}


def check_exactly(form, pattern, steps, batch, reference=ops.rnn.reference, initial=True):
    """ReLU on whole numbers: every order of summation gives the same bits."""
    arguments = FORMS[form].problem(pattern, steps, batch, initial=initial) | RELU[form]
    leaves = leaves_of(arguments)
    whole = {name: integers(*leaf.shape, dtype=leaf.dtype, most=1) for name, leaf in leaves.items()}
    arguments = with_leaves(arguments, whole)

    def found(function):
        own = with_leaves(
            arguments, {n: leaf.clone().requires_grad_() for n, leaf in whole.items()}
        )
        h = function(**own)
        upstream = torch.ones_like(h)
        upstream[::2] = -2
        return h, *torch.autograd.grad(h, [*leaves_of(own).values()], upstream)

    wanted = found(reference)
    assert wanted[0].abs().max() < 2**40
    for name, one, other in zip(("h", *leaves), found(ops.rnn), wanted, strict=True):
        assert torch.equal(one, other), name


@pairwise(
    form=[*RELU],
    pattern=square_patterns(),
    shape=[(1, 1), (4, 1), (2, 3), (4, 4), (3, 12), (4, 16), (2, 20), (3, 33), (2, 130)],
    initial=[True, False],
)
def test_exactly(form, pattern, shape, initial):
    check_exactly(form, pattern, *shape, initial=initial)


@given(pattern=patterns(square=True), steps=st.integers(1, 3), batch=sizes())
def test_any_structure_exactly(pattern, steps, batch):
    check_exactly("rnn, dense input", pattern, steps, batch)


def test_a_batch_of_thousands():
    form = FORMS["rnn, dense input"]
    check(form, form.problem(random_pattern(40, 40, 300), 3, 4096, torch.float32))


@pairwise(
    form=["rnn, relu", "rnn, dense input"],
    begins=["once", "again", "lengths"],
    batch=[64, 128, 512],
    count=[1, 2, 5],
    dtype={"float32": torch.float32, "float64": torch.float64},
    initial=[True, False],
)
def test_columns_across_teams(form, begins, batch, count, dtype, initial, threads):
    """Enough steps and links that two teams share the columns of a batch, at most widths."""
    threads(count)
    lengths = [40] * (batch // 2) + [17] * (batch // 2) if begins == "lengths" else None
    pattern = random_pattern(60, 60, 300)
    arguments = FORMS[form].problem(pattern, 40, batch, dtype, initial=initial, lengths=lengths)
    if begins == "again":
        arguments["resets"] = torch.rand(40, batch) < 0.1
    check(FORMS[form], arguments)


def link_by_link(x, h0, bias, values, pattern, *, w_input=None, nonlinearity="tanh"):
    """Another reference, for sizes at which the dense weight would not fit."""
    states, rows, cols = [h0], pattern.rows(), pattern.col.long()
    for step in (x if w_input is None else x @ w_input.T) + bias:
        sums = torch.zeros_like(h0).index_add(1, rows, values * states[-1][:, cols])
        states.append(getattr(torch, nonlinearity)(step + sums))
    return torch.stack(states[1:])


@pytest.mark.parametrize(
    ("form", "steps", "batch"),
    [("rnn, relu", 12, 2), ("rnn, relu", 2, 40), ("rnn, dense input", 3, 2)],
)
def test_more_units_than_the_caches_hold(form, steps, batch):
    check_exactly(form, random_pattern(30_000, 30_000, 40_000), steps, batch, link_by_link)


DTYPES = [torch.float32, torch.float64]
INF, NAN = torch.inf, torch.nan


def points_of(dtype, most):
    """Numbers up to the largest ones, dense around zero, of either sign."""
    points = torch.cat([torch.linspace(0, most, 2001), torch.logspace(-30, 1, 500)]).to(dtype)
    return torch.cat([points, -points])


def by_rnn(points, batch, nonlinearity):
    """act(points), computed by the recurrence without links."""
    units = points.numel()
    x = points.expand(1, batch, units)
    nothing = random_pattern(units, units, 0)
    return ops.rnn(x, None, None, points[:0], nothing, nonlinearity=nonlinearity)[0]


def by_gru(points, batch):
    """The logistic function as the update gate of a unit that was 1, whose candidate is 0."""
    units = points.numel()
    x = torch.zeros(1, batch, 3, units, dtype=points.dtype)
    x[:, :, 1] = points
    ones, nothing = points.new_ones(batch, units), random_pattern(3 * units, units, 0)
    return ops.gru(x.flatten(2), ones, None, points[:0], nothing)[0]


def by_synapse(points, batch):
    """The logistic function of one synapse, for a part of the points."""
    one, zero = points.new_ones(1), points.new_zeros(1)
    columns = points[: {1: 1, 2: 2, 20: None}[batch], None]
    return ops.conductance(columns, Synapses(one, zero, one, one), random_pattern(1, 1, 1))[1].T


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_functions_are_accurate_everywhere(dtype, batch):
    info = torch.finfo(dtype)
    points = torch.cat([points_of(dtype, 12), points_of(dtype, 60)])
    edges = points.new_tensor([info.tiny, INF, -INF])
    points = torch.cat([points, edges])
    exact = torch.tanh(points.double())
    error = (by_rnn(points, batch, "tanh").double() - exact).abs() / exact.abs().clamp(info.tiny)
    assert error.max() < 3 * info.eps
    points = points_of(dtype, 87 if dtype == torch.float32 else 700)
    exact = torch.sigmoid(points.double())
    assert ((by_gru(points, batch) - exact).abs() / exact).max() < 4 * info.eps
    found = by_synapse(points, batch)
    points, exact = points[: found.numel()], exact[: found.numel()]
    # exp(-x) cannot be more exact than x: an error of eps * |x| / 2 is already in log2(e) x.
    assert ((found - exact).abs() / exact <= info.eps * (4 + points.double().abs())).all()
    points = torch.tensor([-INF, -1.0, -0.0, 0.0, 1e-40, 3.5, INF], dtype=dtype)
    assert torch.equal(by_rnn(points, batch, "relu"), points.relu().expand(batch, 7))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_nan_is_not_hidden(nonlinearity, batch):
    points = torch.tensor([1.0, NAN, -1.0])
    found = by_rnn(points, batch, nonlinearity).isnan()
    assert torch.equal(found, points.isnan().expand(batch, 3))


@pairwise(nonlinearity=["tanh", "relu", "softplus", "sigmoid"], dtype=DTYPES)
def test_rates_far_from_zero(nonlinearity, dtype):
    """Exponentials of either sign overflow."""
    arguments = FORMS["rate_rnn"].problem(random_pattern(33, 33, 200), 2, 5, dtype)
    arguments |= {"nonlinearity": nonlinearity, "h0": arguments["h0"] * 1000}
    found = outcome(ops.rate_rnn, arguments)
    for name, wanted in outcome(ops.rate_rnn.reference, cast(arguments)).items():
        size = wanted.abs().max()
        assert_close(found[name].double() / size, wanted / size, rtol=0, atol=1e-5)


@pytest.mark.parametrize("far", [1e3, 1e30, INF])
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_far_potentials_open_or_close_a_synapse(far, columns):
    pattern = random_pattern(1, 9, 9)
    synapses = Synapses(*torch.rand(4, 9) + 0.5)
    sums = [(synapses.values * synapses.erev).sum(), synapses.values.sum()]
    for x, is_open in ((far, 1), (-far, 0)):
        found = ops.conductance(torch.full((columns, 9), x), synapses, pattern)
        for own, wanted in zip(found, sums, strict=True):
            assert_close(own, (is_open * wanted).expand(columns, 1), rtol=1e-6, atol=1e-30)
    x = torch.full((columns, 9), NAN)
    assert all(each.isnan().all() for each in ops.conductance(x, synapses, pattern))


def test_membranes_without_any_conductance_but_their_capacitance():
    """Columns that only fill up a vector have none at all, and must not disturb the sums."""
    arguments = FORMS["ltc"].problem(random_pattern(9, 9, 0), 2, 5)
    arguments["cm"] = torch.zeros(9).double()
    assert all(each.isfinite().all() for each in outcome(ops.ltc, arguments).values())


@pytest.mark.parametrize("cell", ["normed_rnn", "normed_lstm"])
@pytest.mark.parametrize("batch", [1, 20])
def test_a_mean_far_from_zero_costs_no_digits(cell, batch):
    """The variance is not a small difference of large numbers."""
    arguments = FORMS[cell].problem(square_patterns()["all"], 1, batch, torch.float32)
    rows, hidden = arguments["pattern"].shape
    arguments["h0"] = torch.ones(batch, hidden)
    arguments["values"] = (1024 + torch.randint(-8, 9, (rows, 1))).float().repeat(1, hidden)
    arguments["values"] = arguments["values"].flatten() / hidden
    found = as_tuple(FORMS[cell].function(**arguments))[0]
    leaves = {name: leaf.double() for name, leaf in leaves_of(arguments).items()}
    exact = as_tuple(FORMS[cell].reference(**with_leaves(arguments, leaves)))[0]
    assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_and_infinite_master_gates(dtype, batch):
    """The softmax neither overflows nor loses its small terms."""
    form = FORMS["on_lstm, chunks of one"]
    arguments = form.problem(random_pattern(8, 8, 0), 1, batch, dtype)
    arguments["x"][..., :16] *= 300
    arguments["x"][0, 0, :4] = torch.tensor([1e30, -1e30, 0, 80])
    check(form, arguments)
    for first in (0, 8, 16):
        arguments["x"][..., first : first + 4] = torch.tensor([-INF, 1.0, -INF, 0.0])
    arguments["x"][0, -1, 24] = NAN
    found, wanted = ops.on_lstm(**arguments), ops.on_lstm.reference(**arguments)
    assert_close(found, wanted, equal_nan=True)


def test_the_carried_state_of_a_highway_network_is_not_masked():
    """With every unit masked, the network is one without links."""
    arguments = FORMS["rhn"].problem(random_pattern(33, 33, 200), 4, 3)
    nothing = [torch.empty(0, dtype=torch.float64)] * 2
    empty = [random_pattern(66, 33, 0)] * 2
    alone = ops.rhn(**(arguments | {"mask": None, "values": nothing, "patterns": empty}))
    masked = ops.rhn(**(arguments | {"mask": torch.zeros_like(arguments["mask"])}))
    assert torch.equal(masked, alone)
