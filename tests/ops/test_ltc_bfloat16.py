"""Liquid time-constant networks with activations in bfloat16, against their twin in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import Synapses
from sparse_engine.ops._native import native
from sparse_engine.ops.ltc import ltc_and_final
from sparse_engine.testing import patterns, random_pattern, sizes

HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
KEPT = ("h", "current", "conductance")


def problem(pattern, steps, batch, *, initial=True):
    """All tensors of real numbers, by name, in the order of the native operation."""
    hidden, nnz = pattern.shape[0], pattern.nnz
    return {
        "current": torch.randn(steps, batch, hidden).bfloat16(),
        "conductance": (1 + torch.rand(steps, batch, hidden)).bfloat16(),
        "h0": torch.randn(batch, hidden) if initial else None,
        "cm": 0.5 + torch.rand(hidden),
        "values": torch.rand(nnz),
        "mu": 0.3 + 0.5 * torch.rand(nnz),
        "sigma": 3 + 5 * torch.rand(nnz),
        "erev": 4 * torch.rand(nnz) - 2,
    }


def in_double(arguments):
    return {name: None if each is None else each.double() for name, each in arguments.items()}


def own(pattern, unfolds, current, conductance, h0, cm, **synapses):
    parameters = Synapses(**synapses)
    return ltc_and_final(current, conductance, h0, cm, parameters, pattern, unfolds=unfolds)


def twin(pattern, unfolds, current, conductance, h0, cm, **synapses):
    parameters = Synapses(**synapses)
    h = ops.ltc_ref(current, conductance, h0, cm, parameters, pattern, unfolds=unfolds)
    return h, h[-1]


def gradients(function, pattern, unfolds, arguments, upstream):
    """The states, the last of them as it goes on, and the gradients of all tensors, by name."""
    given = arguments.items()
    leaves = {name: each.clone().requires_grad_() for name, each in given if each is not None}
    states = function(pattern, unfolds, **(arguments | leaves))
    upstream = [each.to(state) for each, state in zip(upstream, states, strict=True)]
    grads = torch.autograd.grad(states, [*leaves.values()], upstream)
    return dict(zip(("h", "h_n"), states, strict=True)) | dict(zip(leaves, grads, strict=True))


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("unfolds", [1, 6])
def test_close_to_the_twin(initial, unfolds):
    """Every result and gradient as a whole, and their dtypes."""
    pattern = random_pattern(70, 70, 900)
    for steps, batch in [(1, 1), (5, 1), (6, 3), (2, 16), (7, 20), (4, 33), (3, 48), (3, 130)]:
        arguments = problem(pattern, steps, batch, initial=initial)
        upstream = torch.randn(steps, batch, 70).bfloat16(), torch.randn(batch, 70)
        found = gradients(own, pattern, unfolds, arguments, upstream)
        exact = gradients(twin, pattern, unfolds, in_double(arguments), upstream)
        for name, wanted in exact.items():
            kept = torch.bfloat16 if name in KEPT else torch.float32
            assert found[name].dtype == kept, name
            assert (found[name].double() - wanted).norm() <= 2 * HALF * wanted.norm(), name


@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 4),
    batch=st.one_of(sizes(), st.integers(1, 100)),
    unfolds=st.integers(1, 4),
    initial=st.booleans(),
)
def test_states_are_those_of_float32(pattern, steps, batch, unfolds, initial):
    """Nothing is rounded inside the time loop."""
    arguments = problem(pattern, steps, batch, initial=initial)
    wide = {name: None if each is None else each.float() for name, each in arguments.items()}
    h, h_n = own(pattern, unfolds, **arguments)
    exact, last = own(pattern, unfolds, **wide)
    assert torch.equal(h, exact.bfloat16()) and torch.equal(h_n, last)


@pytest.mark.parametrize("batch", [1, 20])
def test_part_by_part(batch):
    """What goes on from one part of a sequence to the next is not rounded."""
    pattern = random_pattern(70, 70, 900)
    arguments = problem(pattern, 6, batch)
    h, h_n = own(pattern, 3, **arguments)
    parts, state = [], arguments["h0"]
    for part in range(3):
        now = {name: arguments[name].split(2)[part] for name in ("current", "conductance")}
        each, state = own(pattern, 3, **(arguments | now | {"h0": state}))
        parts.append(each)
    assert torch.equal(torch.cat(parts), h) and torch.equal(state, h_n)


def test_what_is_kept():
    """Current, conductance and h, in half the memory."""
    pattern, kept = random_pattern(30, 30, 200), []
    arguments = problem(pattern, 5, 20)
    arguments["values"].requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        own(pattern, 3, **arguments)
    large = [tensor.dtype for tensor in kept if tensor.numel() > 20 * 30]
    assert large == [torch.bfloat16] * 3


@pytest.mark.parametrize("batch", [1, 33])
def test_threads(batch, assert_same_bits):
    pattern = random_pattern(300, 300, 9000)
    arguments = problem(pattern, 2, batch)
    upstream = torch.randn(2, batch, 300), torch.randn(batch, 300)
    assert_same_bits(lambda: gradients(own, pattern, 3, arguments, upstream))


@pytest.mark.parametrize("initial", [True, False])
def test_opcheck(initial):
    pattern = random_pattern(9, 9, 25)
    given = problem(pattern, 4, 3, initial=initial).values()
    leaves = [None if each is None else each.requires_grad_() for each in given]
    opcheck(native.ltc_forward.default, (*leaves, pattern, 3))
    given = [None if each is None else each.detach() for each in leaves]
    h, h_n = native.ltc_forward(*given, pattern, 3)
    upstream = torch.randn_like(h), torch.randn_like(h_n) if initial else None
    opcheck(native.ltc_backward.default, (*upstream, h, *given, pattern, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conductance": torch.ones(4, 3, 9)}, "conductance of dtype bfloat16, found float32"),
        ({"cm": torch.ones(9).bfloat16()}, "cm of dtype float32, found bfloat16"),
        ({"h0": torch.ones(3, 9).double()}, "h0 of dtype float32, found float64"),
        ({"current": torch.ones(4, 3, 9).half()}, "current of dtype float32, found float16"),
    ],
)
def test_errors(change, message):
    pattern = random_pattern(9, 9, 25)
    with pytest.raises(ValueError, match=message):
        own(pattern, 3, **(problem(pattern, 4, 3) | change))


def test_no_steps():
    pattern = random_pattern(9, 9, 25)
    with pytest.raises(ValueError, match="at least one time step, found none"):
        own(pattern, 3, **problem(pattern, 0, 3))
