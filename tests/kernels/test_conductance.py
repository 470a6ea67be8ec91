"""Conductance synapses, against their reference implementation."""

import pytest
import torch
from hypothesis import given
from kernels.sequences import (
    cast,
    leaves_of,
    outcome,
    synapses_of,
    with_leaves,
)
from pairwise import pairwise
from testing import (
    Recorder,
    assert_scaled_sums,
    awkward_patterns,
    is_real,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
)
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import Synapses


def problem(pattern, columns, dtype=torch.float64):
    """Return the arguments of the operation by name."""
    x = torch.randn(columns, pattern.shape[1], dtype=dtype)
    return {"x": x, "synapses": synapses_of(pattern.nnz, dtype), "pattern": pattern}


def check(pattern, columns, dtype):
    arguments = problem(pattern, columns, dtype)
    fan = max([*pattern.crow.diff().tolist(), *pattern.t_crow.diff().tolist()])
    found = outcome(ops.conductance, arguments)
    for name, wanted in outcome(ops.conductance.reference, cast(arguments)).items():
        assert_scaled_sums(found[name], wanted, 8 * fan * columns)


@pairwise(
    pattern=awkward_patterns(),
    columns=[1, 2, 4, 7, 12, 16, 33, 64, 130],
    dtype=[torch.float32, torch.float64],
)
def test_equals_its_reference(pattern, columns, dtype):
    check(pattern, columns, dtype)


@given(pattern=patterns(), columns=sizes(), dtype=real_dtypes())
def test_any_structure(pattern, columns, dtype):
    check(pattern, columns, dtype)


def test_leading_dimensions_are_kept():
    arguments = problem(awkward_patterns()["ordinary"], 30)
    arguments["x"] = torch.randn(100, 3, 2, 5, dtype=torch.float64).permute(2, 1, 3, 0)
    found, wanted = ops.conductance(**arguments), ops.conductance.reference(**arguments)
    assert found[0].shape == found[1].shape == (2, 3, 5, 70)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("columns", [1, 3])
def test_derivatives(columns):
    arguments = problem(random_pattern(5, 5, 11), columns)
    leaves = leaves_of(arguments)

    def run(*own):
        return ops.conductance(**with_leaves(arguments, dict(zip(leaves, own, strict=True))))

    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves.values()])
    (first,) = torch.autograd.grad(run(*leaves.values())[0].sum(), leaves["x"], create_graph=True)
    with pytest.raises(RuntimeError, match=r"use sparse_engine\.ops\.conductance\.reference"):
        first.sum().backward()


def test_opcheck():
    with Recorder() as recorder:
        outcome(ops.conductance, problem(random_pattern(9, 9, 25), 4, torch.float32))
    for operation, own, _ in recorder.calls:
        is_forward = "forward" in operation.name()
        opcheck(
            operation,
            tuple(e.detach().clone().requires_grad_(is_forward) if is_real(e) else e for e in own),
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_to_do(dtype):
    for pattern, columns in (
        (random_pattern(7, 7, 20), 0),
        (random_pattern(0, 4, 0), 3),
        (random_pattern(4, 0, 0), 3),
    ):
        for name, each in outcome(ops.conductance, problem(pattern, columns, dtype)).items():
            assert not each.any(), name


def test_errors():
    with pytest.raises(ValueError, match=r"x of shape \[..., 9\], found \[3, 8\]"):
        ops.conductance(**problem(random_pattern(9, 9, 25), 3) | {"x": torch.randn(3, 8)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_logistic_function(dtype):
    """Relative to itself, from where it is 0 to where it is 1."""
    bound = {torch.float32: 87.0, torch.float64: 700.0}[dtype]
    x = torch.cat([torch.linspace(-bound, bound, 30_011), torch.linspace(-3, 3, 1001)]).to(dtype)
    one, zero = torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    link = random_pattern(1, 1, 1)
    for columns in (x[:, None], x[:1000, None], x[15_000:15_001, None]):
        _, found = ops.conductance(columns, Synapses(one, zero, one, one), link)
        exact = torch.special.expit(columns.double())
        error = (found.double() - exact).abs() / exact
        # exp(-x) cannot be more exact than x: an error of eps * |x| / 2 is already in log2(e) x.
        assert (error <= torch.finfo(dtype).eps * (4 + columns.double().abs())).all()


@pytest.mark.parametrize("far", [1e3, 1e30, float("inf")])
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_far_potentials_open_or_close_a_synapse(far, columns):
    pattern = random_pattern(1, 9, 9)
    synapses = Synapses(*torch.rand(4, 9) + 0.5)
    for sign in (1, -1):
        x = torch.full((columns, 9), sign * far)
        current, total = ops.conductance(x, synapses, pattern)
        open_ = (1 + sign) / 2
        expected = open_ * synapses.values.sum()
        torch.testing.assert_close(total, expected.expand(columns, 1), rtol=1e-6, atol=1e-30)
        expected = open_ * (synapses.values * synapses.erev).sum()
        torch.testing.assert_close(current, expected.expand(columns, 1), rtol=1e-6, atol=1e-30)
    x = torch.full((columns, 9), torch.nan)
    assert all(sums.isnan().all() for sums in ops.conductance(x, synapses, pattern))
