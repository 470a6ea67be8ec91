"""The recurrence and its backward pass against the slow twin."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine import ops
from sparse_engine.testing import (
    assert_scaled_sums,
    assert_sums,
    integers,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
    square_patterns,
)

SQUARE = square_patterns()
FORMS = [
    {},
    {"initial": False},
    {"inputs": 5},
    {"inputs": 1, "initial": False, "bias": False},
    {"inputs": 16, "initial": False},
]


def check_exactly(problem, twin=ops.rnn_ref):
    """ReLU on whole numbers: every order of summation gives the same bits."""
    upstream = integers(*problem.x.shape[:2], problem.pattern.shape[0], dtype=torch.float64)
    h, grads = problem.gradients(upstream)
    h_ref, grads_ref = problem.gradients(upstream, twin)
    assert h_ref.abs().max() < 2**40
    assert torch.equal(h, h_ref)
    for name, grad in grads.items():
        assert torch.equal(grad, grads_ref[name]), name


def check(problem):
    """Real numbers: against the slow twin in double precision, relative to the largest entry."""
    steps, batch, _ = problem.x.shape
    hidden = problem.pattern.shape[0]
    upstream = torch.randn(steps, batch, hidden, dtype=torch.float64)
    h, grads = problem.gradients(upstream.to(problem.x.dtype))
    exact = problem.replace(torch.Tensor.double)
    h_exact, grads_exact = exact.gradients(upstream.to(problem.x.dtype).double(), ops.rnn_ref)
    fan = int(problem.pattern.crow.diff().max()) + problem.x.shape[2]
    assert_sums(h, h_exact, steps * fan)
    for name, grad in grads.items():
        wanted = grads_exact[name]
        terms = fan * steps if name in ("x", "h0") else fan * steps * batch
        assert_scaled_sums(grad, wanted, terms)


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("form", FORMS)
def test_exactly(name, form, recurrence):
    shapes = [(1, 1), (4, 1), (2, 3), (4, 4), (3, 12), (4, 16), (2, 20), (3, 33), (2, 130)]
    for steps, batch in shapes:
        options = form | {"nonlinearity": "relu", "whole": True}
        check_exactly(recurrence(SQUARE[name], steps, batch, torch.float64, **options))


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_real_numbers(name, form, nonlinearity, recurrence):
    shapes = [(1, 1), (5, 1), (2, 3), (20, 4), (9, 12), (3, 16), (2, 20), (5, 33), (4, 130)]
    for steps, batch in shapes:
        for dtype in (torch.float32, torch.float64):
            options = form | {"nonlinearity": nonlinearity}
            check(recurrence(SQUARE[name], steps, batch, dtype, **options))


@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 12),
    batch=st.one_of(sizes(), st.integers(1, 200)),
    dtype=real_dtypes(),
    inputs=st.sampled_from([None, 1, 3, 8, 17, 64]),
    initial=st.booleans(),
    bias=st.booleans(),
    nonlinearity=st.sampled_from(["tanh", "relu"]),
)
def test_any_structure(recurrence, pattern, steps, batch, dtype, **options):
    check(recurrence(pattern, steps, batch, dtype, **options))


@given(pattern=patterns(square=True), steps=st.integers(1, 3), batch=sizes())
def test_any_structure_exactly(recurrence, pattern, steps, batch):
    options = {"inputs": 3, "nonlinearity": "relu", "whole": True}
    check_exactly(recurrence(pattern, steps, batch, torch.float64, **options))


def test_a_batch_of_thousands(recurrence):
    check(recurrence(random_pattern(40, 40, 300), 3, 4096, torch.float32, inputs=6))


def link_by_link(x, h0, bias, values, pattern, *, w_input, nonlinearity):
    """Another slow twin, for sizes at which the dense weight would not fit."""
    states, rows, cols = [h0], pattern.rows(), pattern.col.long()
    for step in x @ w_input.T + bias:
        sums = torch.zeros_like(h0).index_add(1, rows, values * states[-1][:, cols])
        states.append(getattr(torch, nonlinearity)(step + sums))
    return torch.stack(states[1:])


@pytest.mark.parametrize(("steps", "batch", "inputs"), [(3, 2, 48), (2, 40, 4), (12, 2, 1)])
def test_more_units_than_the_caches_hold(steps, batch, inputs, recurrence):
    options = {"inputs": inputs, "nonlinearity": "relu", "whole": True}
    pattern = random_pattern(30_000, 30_000, 40_000)
    check_exactly(recurrence(pattern, steps, batch, torch.float64, **options), link_by_link)
