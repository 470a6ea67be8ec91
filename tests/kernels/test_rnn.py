"""The plain recurrence: sums in exact numbers, and large problems."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels.sequences import FORMS, check, leaves_of, with_leaves
from pairwise import pairwise
from testing import integers, patterns, random_pattern, sizes, square_patterns

from sparse_engine import ops

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
