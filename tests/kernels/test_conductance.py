"""Conductance synapses, by themselves and in large networks, against their equations."""

import pytest
import torch
from hypothesis import given
from kernels.sequences import (
    FORMS,
    cast,
    leaves_of,
    outcome,
    synapses_of,
    with_leaves,
)
from pairwise import pairwise
from testing import (
    assert_scaled_sums,
    awkward_patterns,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
)
from torch.autograd import gradcheck

from sparse_engine import ops


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


def link_by_link(current, conductance, h0, cm, synapses, pattern, *, unfolds):
    """Return what ltc equals, for sizes at which dense parameters would not fit."""
    v, rows, cols = h0, pattern.rows(), pattern.col.long()
    states = []
    for drive, leak in zip(current, conductance, strict=True):
        for _ in range(unfolds):
            g = synapses.values * torch.sigmoid(synapses.sigma * (v[:, cols] - synapses.mu))
            i = (cm * v + drive).index_add(1, rows, g * synapses.erev)
            v = i / (cm + leak).index_add(1, rows, g)
        states.append(v)
    return torch.stack(states)


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_units_than_the_caches_hold(batch, dtype):
    pattern = random_pattern(30_000, 30_000, 40_000)
    arguments = FORMS["ltc"].problem(pattern, 1, batch, dtype)
    found = outcome(ops.ltc, arguments)
    for name, wanted in outcome(link_by_link, cast(arguments)).items():
        assert_scaled_sums(found[name], wanted, 400 * batch)
