"""Cells that carry a state in float32 and all else in bfloat16: RHN and ON-LSTM.

They are compared with their slow twins in double precision.
"""

import pytest
import torch
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops._native import native
from sparse_engine.ops.rhn import rhn_and_states
from sparse_engine.testing import random_pattern

HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
NARROW = {"x", "s0", "h0", "y"}


def activations(*shape):
    return torch.randn(shape).bfloat16()


def highway(function):
    """With the values of all levels in one tensor, and results in a tuple."""

    def run(values, patterns, **arguments):
        own = values.split([pattern.nnz for pattern in patterns])
        return (function(values=[*own], patterns=patterns, **arguments),)

    return run


def highway_problem(units, steps, batch, *, density=0.2, depth=3, blocks=2, initial=True):
    rows = blocks * units
    each = int(rows * units * density)
    mask = (torch.rand(batch, units) < 0.7) / 0.7
    return {
        "x": activations(steps, 1, batch, rows),
        "s0": activations(batch, units) if initial else None,
        "mask": mask if initial else None,
        "bias": torch.randn(depth, rows),
        "values": torch.randn(depth * each) * (rows / max(1, each)) ** 0.5,
        "patterns": [random_pattern(rows, units, each, seed=level) for level in range(depth)],
    }


def ordered_problem(units, steps, batch, *, density=0.2, chunks=None, initial=True):
    rows = 2 * (units if chunks is None else chunks) + 4 * units
    pattern = random_pattern(rows, units, int(rows * units * density))
    return {
        "x": activations(steps, batch, rows),
        "h0": activations(batch, units) if initial else None,
        "c0": torch.randn(batch, units) if initial else None,
        "bias": torch.randn(rows),
        "values": torch.randn(pattern.nnz) * (rows / max(1, pattern.nnz)) ** 0.5,
        "pattern": pattern,
    }


CELLS = {
    "rhn": (highway(ops.rhn), highway(ops.rhn_ref)),
    "on_lstm": (ops.on_lstm, ops.on_lstm_ref),
}
PROBLEMS = {
    "rhn": highway_problem,
    "rhn, carry gates": lambda *shape, **options: highway_problem(*shape, blocks=3, **options),
    "on_lstm": ordered_problem,
    "on_lstm, ten chunks": lambda *shape, **options: ordered_problem(*shape, chunks=10, **options),
}
KINDS = pytest.mark.parametrize("kind", PROBLEMS)


def twins(kind):
    """The operation of a cell, and its slow twin."""
    return CELLS[kind.split(",")[0]]


def is_real(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def widened(arguments, dtype=torch.float64):
    """The same numbers in another dtype."""
    return {name: each.to(dtype) if is_real(each) else each for name, each in arguments.items()}


def gradients(function, arguments, upstream):
    """The results, and the gradients of all that take one, by name."""
    leaves = {
        name: each.clone().requires_grad_()
        for name, each in arguments.items()
        if is_real(each) and name != "mask"
    }
    results = function(**(arguments | leaves))
    upstream = [each.to(result) for each, result in zip(upstream, results, strict=True)]
    grads = torch.autograd.grad(results, [*leaves.values()], upstream)
    return dict(zip(("y", "c_n"), results, strict=False)) | dict(zip(leaves, grads, strict=True))


def check(kind, arguments, bound=2 * HALF):
    """Every result and gradient as a whole, and their dtypes."""
    operation, twin = twins(kind)
    upstream = [activations(*result.shape) for result in operation(**arguments)]
    found = gradients(operation, arguments, upstream)
    for name, wanted in gradients(twin, widened(arguments), upstream).items():
        assert found[name].dtype == (torch.bfloat16 if name in NARROW else torch.float32), name
        error = (found[name].double() - wanted).norm()
        assert error <= bound * wanted.norm(), (name, float(error / wanted.norm()))


@KINDS
@pytest.mark.parametrize("initial", [True, False])
def test_close_to_the_twin(kind, initial):
    for steps, batch in [(1, 1), (5, 1), (6, 3), (2, 16), (7, 20), (4, 33), (3, 48), (3, 130)]:
        check(kind, PROBLEMS[kind](70, steps, batch, initial=initial))


@KINDS
@pytest.mark.parametrize("density", [0, 0.02, 1])
def test_hardly_any_links_and_all(kind, density):
    check(kind, PROBLEMS[kind](30, 4, 5, density=density))


@KINDS
def test_non_contiguous_arguments(kind):
    arguments, operation = PROBLEMS[kind](30, 4, 20), twins(kind)[0]
    strided = {name: each.mT.contiguous().mT for name, each in arguments.items() if name in NARROW}
    found, wanted = operation(**(arguments | strided)), operation(**arguments)
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("blocks", [2, 3])
@pytest.mark.parametrize("gate", [0.0, 3.0, 5.0, 8.0])
def test_gradients_over_many_levels_fade_as_they_should(blocks, gate):
    """A carry gate near 1 is kept by its distance from it: in 8 bits it would be 1."""
    u = [0.3, -gate] if blocks == 2 else [0.3, -2.0, gate]
    arguments = {
        "x": torch.tensor(u).bfloat16().expand(200, 2, 3, -1).contiguous(),
        "s0": torch.linspace(0.5, 1.5, 3)[:, None].bfloat16(),
        "mask": None,
        "bias": None,
        "values": torch.empty(0),
        "patterns": [random_pattern(blocks, 1, 0)] * 2,
    }
    check("rhn", arguments)


@pytest.mark.parametrize("gate", [0.0, 3.0, 5.0, 8.0])
def test_masters_fade_as_they_should(gate):
    """By what a softmax leaves to other chunks: in 8 bits it would be all or too much."""
    masters, gates = [-gate, 0.0, gate, 0.0], [1.0, 0.5, 0.3, -0.4, -1.0, 0.2, gate, 1.0]
    arguments = {
        "x": torch.tensor(masters + gates).bfloat16().expand(200, 3, -1).contiguous(),
        "h0": torch.zeros(3, 2).bfloat16(),
        "c0": torch.linspace(0.5, 1.5, 6).reshape(3, 2),
        "bias": None,
        "values": torch.empty(0),
        "pattern": random_pattern(12, 2, 0),
    }
    check("on_lstm", arguments)


@KINDS
@pytest.mark.parametrize("batch", [1, 20, 64])
def test_the_state_is_that_of_float32(kind, batch):
    """Without links; it is rounded where it leaves the time loop only."""
    arguments = PROBLEMS[kind](10, 12, batch, density=0)
    operation, _ = twins(kind)
    wanted = operation(**widened(arguments, torch.float32))
    for found, exact in zip(operation(**arguments), wanted, strict=True):
        assert torch.equal(found, exact.to(found.dtype))


@pytest.mark.parametrize("kind", ["rhn", "rhn, carry gates"])
def test_what_a_highway_network_keeps(kind):
    """All of it takes half the memory; the states before each level are among it."""
    arguments = PROBLEMS[kind](30, 6, 20)
    arguments["values"] = [*arguments["values"].chunk(3)]
    y, states = rhn_and_states(**arguments)
    arguments = {name: each.float() if name in NARROW else each for name, each in arguments.items()}
    _, expected = rhn_and_states(**arguments)
    assert states.dtype == y.dtype == torch.bfloat16 and states.shape == expected.shape
    assert (states - expected).norm() <= 2 * HALF * expected.norm()


@pytest.mark.parametrize("batch", [1, 5, 16, 20, 33, 48, 64, 100])
@pytest.mark.parametrize("steps", [1, 2, 12])
def test_the_weight_gradient_is_that_of_what_is_kept(steps, batch):
    """Products are exact: within float32's error in a sum of them."""
    arguments = highway_problem(30, steps, batch, depth=1) | {"mask": None}
    x, values = arguments["x"].requires_grad_(), arguments["values"].requires_grad_()
    (y,) = highway(ops.rhn)(**arguments)
    du, found = torch.autograd.grad(y, [x, values], activations(*y.shape))
    assert du.dtype == torch.bfloat16
    before = torch.cat([arguments["s0"][None], y[:-1]]).detach()
    a, b = (each.double().reshape(steps * batch, -1).t() for each in (du, before))
    (pattern,), terms = arguments["patterns"], steps * batch
    most = ops.sddmm(pattern, a.abs(), b.abs())
    assert ((found - ops.sddmm(pattern, a, b)).abs() <= 2**-24 * terms * most).all()


@KINDS
def test_threads(kind, assert_same_bits):
    arguments = PROBLEMS[kind](300, 5, 33)
    operation, _ = twins(kind)
    upstream = [activations(*result.shape) for result in operation(**arguments)]
    assert_same_bits(lambda: gradients(operation, arguments, upstream))


@pytest.mark.parametrize("blocks", [2, 3])
@pytest.mark.parametrize("initial", [True, False])
def test_opcheck_of_rhn(blocks, initial):
    arguments = highway_problem(9, 4, 3, blocks=blocks, initial=initial)
    *tensors, levels = arguments.values()
    flat = [tensor for pattern in levels for tensor in pattern]
    opcheck(native.rhn_forward.default, (*tensors, flat, True))
    y, saved = native.rhn_forward(*tensors, flat, True)
    inputs = (torch.randn_like(y), saved, arguments["mask"], arguments["values"], flat)
    opcheck(native.rhn_backward.default, (*inputs, 1, True, initial, True))


@pytest.mark.parametrize("chunks", [3, 9])
@pytest.mark.parametrize("initial", [True, False])
def test_opcheck_of_on_lstm(chunks, initial):
    arguments = ordered_problem(9, 4, 3, chunks=chunks, initial=initial)
    *tensors, pattern = arguments.values()
    opcheck(native.on_lstm_forward.default, (*tensors, pattern, True))
    h, c_n, c, saved = native.on_lstm_forward(*tensors, pattern, True)
    assert c.dtype == saved.dtype == torch.bfloat16
    _, h0, c0, _, values = tensors
    inputs = (torch.randn_like(h), torch.randn_like(c_n), h, c, saved, h0, c0, values, pattern)
    opcheck(native.on_lstm_backward.default, (*inputs, True, True))


@KINDS
def test_errors(kind):
    arguments, operation = PROBLEMS[kind](10, 4, 3), twins(kind)[0]
    initial = "s0" if "s0" in arguments else "h0"
    with pytest.raises(ValueError, match=f"expected {initial} of dtype bfloat16, found float32"):
        operation(**(arguments | {initial: torch.randn(3, 10)}))
    with pytest.raises(ValueError, match="expected x of dtype float64, found bfloat16"):
        operation(**(widened(arguments) | {"x": arguments["x"]}))
    with pytest.raises(ValueError, match="expected x of dtype float32, found float16"):
        operation(**(arguments | {"x": arguments["x"].half()}))
    if "c0" in arguments:
        with pytest.raises(ValueError, match="expected c0 of dtype float32, found float64"):
            operation(**(arguments | {"c0": arguments["c0"].double()}))
