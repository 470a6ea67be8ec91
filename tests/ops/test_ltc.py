"""Conductance synapses and the recurrence over them against the slow twins."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import Pattern, Synapses
from sparse_engine.ops._native import native
from sparse_engine.testing import (
    assert_scaled_sums,
    awkward_patterns,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
    square_patterns,
)

SQUARE = square_patterns()
del SQUARE["wide"]  # the twin takes as long for its cells as for all other tests


def synapses_of(nnz: int, dtype: torch.dtype, most: float = 1.0) -> Synapses:
    """As a fresh weight draws them, with erev that is not only 1 or -1."""
    values, mu, sigma, erev = torch.rand(4, nnz, dtype=dtype).unbind()
    return Synapses(most * values, 0.3 + 0.5 * mu, 3 + 5 * sigma, 4 * erev - 2)


class Driven(NamedTuple):
    """The tensors that :func:`ops.conductance` takes."""

    x: Tensor
    values: Tensor
    mu: Tensor
    sigma: Tensor
    erev: Tensor

    def run(self, operation, pattern: Pattern) -> Tensor:
        """Current and conductance, one above the other."""
        x, *synapses = self
        return torch.stack(operation(x, Synapses(*synapses), pattern))


class Recurrence(NamedTuple):
    """The tensors that :func:`ops.ltc` takes."""

    current: Tensor
    conductance: Tensor
    h0: Tensor | None
    cm: Tensor
    values: Tensor
    mu: Tensor
    sigma: Tensor
    erev: Tensor

    def run(self, operation, pattern: Pattern, unfolds: int = 6) -> Tensor:
        """The states."""
        current, conductance, h0, cm, *synapses = self
        links = Synapses(*synapses)
        return operation(current, conductance, h0, cm, links, pattern, unfolds=unfolds)


def driven(pattern, columns, dtype=torch.float64):
    x = torch.randn(columns, pattern.shape[1], dtype=dtype)
    return Driven(x, *synapses_of(pattern.nnz, dtype))


def recurrence(pattern, steps, batch, dtype=torch.float64, *, initial=True):
    hidden = pattern.shape[0]
    return Recurrence(
        torch.randn(steps, batch, hidden, dtype=dtype),
        1 + torch.rand(steps, batch, hidden, dtype=dtype),
        torch.randn(batch, hidden, dtype=dtype) if initial else None,
        0.5 + torch.rand(hidden, dtype=dtype),
        *synapses_of(pattern.nnz, dtype),
    )


def replaced(problem, change):
    """The same problem with ``change`` applied to every tensor."""
    return type(problem)(*(None if leaf is None else change(leaf) for leaf in problem))


def results(problem, upstream, operation, *where, **options):
    """The result, and the gradient of every tensor, by name."""
    leaves = replaced(problem, lambda leaf: leaf.detach().requires_grad_())
    named = {name: leaf for name, leaf in leaves._asdict().items() if leaf is not None}
    result = leaves.run(operation, *where, **options)
    grads = torch.autograd.grad(result, list(named.values()), upstream.to(result.dtype))
    return {"result": result.detach(), **dict(zip(named, grads, strict=True))}


def check(problem, operation, twin, terms, *where, **options):
    """Against the slow twin in double precision, relative to the largest entry."""
    with torch.no_grad():
        upstream = torch.randn_like(problem.run(operation, *where, **options)).double()
    found = results(problem, upstream, operation, *where, **options)
    exact = results(replaced(problem, Tensor.double), upstream, twin, *where, **options)
    for name, wanted in exact.items():
        assert_scaled_sums(found[name], wanted, terms)


def check_driven(pattern, columns, dtype):
    fan = max([*pattern.crow.diff().tolist(), *pattern.t_crow.diff().tolist()])
    problem = driven(pattern, columns, dtype)
    check(problem, ops.conductance, ops.conductance_ref, 8 * fan * columns, pattern)


def check_recurrence(pattern, steps, batch, dtype, unfolds, *, initial=True):
    fan = 8 + int(pattern.crow.diff().max())
    problem = recurrence(pattern, steps, batch, dtype, initial=initial)
    terms = 16 * fan * steps * unfolds * batch
    check(problem, ops.ltc, ops.ltc_ref, terms, pattern, unfolds=unfolds)


@pytest.mark.parametrize("name", awkward_patterns())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conductance(name, dtype):
    for columns in (1, 2, 4, 7, 12, 16, 33, 64, 130):
        check_driven(awkward_patterns()[name], columns, dtype)


@given(pattern=patterns(), columns=sizes(), dtype=real_dtypes())
def test_conductance_of_any_structure(pattern, columns, dtype):
    check_driven(pattern, columns, dtype)


def test_conductance_keeps_leading_dimensions():
    pattern = awkward_patterns()["ordinary"]
    x = torch.randn(100, 3, 2, 5).permute(2, 1, 3, 0)
    problem = driven(pattern, 30)._replace(x=x.double())
    found, wanted = (problem.run(f, pattern) for f in (ops.conductance, ops.conductance_ref))
    assert found.shape == (2, 2, 3, 5, 70)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("initial", [True, False])
def test_recurrence(name, dtype, initial):
    for steps, batch, unfolds in [(1, 1, 1), (3, 1, 6), (2, 3, 2), (4, 12, 3), (2, 33, 6)]:
        check_recurrence(SQUARE[name], steps, batch, dtype, unfolds, initial=initial)


@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 4),
    batch=st.one_of(st.integers(1, 40), st.sampled_from([64, 65, 130])),
    dtype=real_dtypes(),
    unfolds=st.integers(1, 6),
    initial=st.booleans(),
)
def test_recurrence_of_any_structure(pattern, steps, batch, dtype, unfolds, initial):
    check_recurrence(pattern, steps, batch, dtype, unfolds, initial=initial)


def link_by_link(current, conductance, h0, cm, synapses, pattern, *, unfolds):
    """Another slow twin, for sizes at which dense parameters would not fit."""
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
    problem = recurrence(pattern, 1, batch, dtype)
    check(problem, ops.ltc, link_by_link, 400 * batch, pattern, unfolds=2)


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


def test_membranes_without_any_conductance_but_their_capacitance():
    """Columns that only fill up a vector have none at all, and must not disturb the sums."""
    pattern, batch = random_pattern(9, 9, 0), 5
    problem = recurrence(pattern, 2, batch)._replace(cm=torch.zeros(9).double())
    found = results(problem, torch.ones(2, batch, 9), ops.ltc, pattern)
    assert all(each.isfinite().all() for each in found.values())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("initial", [True, False])
def test_gradcheck(batch, initial):
    pattern = random_pattern(5, 5, 11)
    problem = recurrence(pattern, 2, batch, initial=initial)
    leaves = [leaf.requires_grad_() for leaf in problem if leaf is not None]

    def run(*tensors):
        tensors = list(tensors)
        if not initial:
            tensors.insert(2, None)
        return Recurrence(*tensors).run(ops.ltc, pattern, unfolds=3)

    assert torch.autograd.gradcheck(run, leaves)
    problem = replaced(driven(pattern, batch), Tensor.requires_grad_)
    assert torch.autograd.gradcheck(
        lambda *t: Driven(*t).run(ops.conductance, pattern), tuple(problem)
    )


def test_a_second_derivative_is_refused():
    pattern = random_pattern(5, 5, 11)
    for operation, problem, twin in (
        (ops.ltc, recurrence(pattern, 2, 3), "ltc_ref"),
        (ops.conductance, driven(pattern, 3), "conductance_ref"),
    ):
        leaves = replaced(problem, Tensor.requires_grad_)
        result = leaves.run(operation, pattern)
        (first,) = torch.autograd.grad(result.sum(), leaves.values, create_graph=True)
        with pytest.raises(RuntimeError, match=f"use sparse_engine.ops.{twin}"):
            first.sum().backward()


@pytest.mark.parametrize("initial", [True, False])
def test_opcheck(initial):
    pattern = random_pattern(9, 9, 25)
    problem = recurrence(pattern, 4, 3, torch.float32, initial=initial)
    h = problem.run(ops.ltc, pattern)
    arguments = (*problem, pattern, 6)
    opcheck(native.ltc_backward.default, (torch.randn_like(h), None, h, *arguments))
    problem = replaced(problem, Tensor.requires_grad_)
    opcheck(native.ltc_forward.default, (*problem, pattern, 6))
    problem = driven(pattern, 4, torch.float32)
    up = torch.randn(2, 4, 9)
    opcheck(native.conductance_backward.default, (*up, *problem, pattern))
    problem = replaced(problem, Tensor.requires_grad_)
    opcheck(native.conductance_forward.default, (*problem, pattern))


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_for_any_number_of_threads(batch, dtype, assert_same_bits):
    pattern = random_pattern(400, 400, 20_000)
    problem, upstream = recurrence(pattern, 2, batch, dtype), torch.randn(2, batch, 400)
    sums, above = driven(pattern, 2 * batch, dtype), torch.randn(2, 2 * batch, 400)

    def run():
        found = results(problem, upstream, ops.ltc, pattern, unfolds=3)
        return [*found.values(), *results(sums, above, ops.conductance, pattern).values()]

    assert_same_bits(run)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_to_do(dtype):
    pattern = random_pattern(7, 7, 20)
    found = results(recurrence(pattern, 2, 0, dtype), torch.ones(2, 0, 7), ops.ltc, pattern)
    assert found["result"].shape == (2, 0, 7)
    assert torch.equal(found["sigma"], torch.zeros(20, dtype=dtype))
    assert torch.equal(found["cm"], torch.zeros(7, dtype=dtype))
    found = results(driven(pattern, 0, dtype), torch.ones(2, 0, 7), ops.conductance, pattern)
    assert torch.equal(found["mu"], torch.zeros(20, dtype=dtype))
    for pattern in (random_pattern(0, 4, 0), random_pattern(4, 0, 0)):
        found = results(
            driven(pattern, 3, dtype), torch.ones(2, 3, pattern.shape[0]), ops.conductance, pattern
        )
        assert torch.equal(found["result"], torch.zeros_like(found["result"]))
        assert torch.equal(found["x"], torch.zeros_like(found["x"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cm": torch.ones(8)}, r"cm of shape \[9\], found \[8\]"),
        ({"cm": torch.ones(9).double()}, "cm of dtype float32, found float64"),
        ({"mu": torch.ones(24)}, r"mu of shape \[25\], found \[24\]"),
        ({"sigma": torch.ones(25).double()}, "sigma of dtype float32, found float64"),
        ({"erev": torch.ones(25, 1)}, r"erev of shape \[25\], found \[25, 1\]"),
        ({"current": torch.ones(4, 3, 8)}, r"current of shape \[steps, batch, 9\]"),
        ({"conductance": torch.ones(4, 2, 9)}, r"conductance of shape \[4, 3, 9\]"),
        ({"h0": torch.ones(9)}, r"h0 of shape \[3, 9\], found \[9\]"),
    ],
)
def test_errors(change, message):
    pattern = random_pattern(9, 9, 25)
    problem = recurrence(pattern, 4, 3, torch.float32)._replace(**change)
    with pytest.raises(ValueError, match=message):
        problem.run(ops.ltc, pattern)


def test_other_errors():
    pattern = random_pattern(9, 9, 25)
    with pytest.raises(ValueError, match="unfolds of at least 1, found 0"):
        recurrence(pattern, 4, 3).run(ops.ltc, pattern, unfolds=0)
    with pytest.raises(ValueError, match="a square recurrent weight, found 9 x 8"):
        recurrence(random_pattern(9, 9, 25), 4, 3).run(ops.ltc, random_pattern(9, 8, 25))
    with pytest.raises(ValueError, match=r"x of shape \[..., 9\], found \[3, 8\]"):
        driven(random_pattern(9, 8, 25), 3).run(ops.conductance, pattern)
