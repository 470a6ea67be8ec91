"""Recurrent highway networks over whole sequences, against their slow twin."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops._native import native
from sparse_engine.testing import (
    assert_scaled_sums,
    pattern_of,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
    square_patterns,
    stacked,
)

BLOCKS = pytest.mark.parametrize("blocks", [2, 3])


def problem(
    pattern,
    steps,
    batch,
    dtype=torch.float64,
    *,
    blocks=2,
    depth=2,
    fed=1,
    initial=True,
    masked=True,
    bias=True,
):
    """The arguments of the operation, by name; ``pattern`` is that of one block."""
    hidden = pattern.shape[0]
    levels = [stacked(pattern, blocks, turn=level) for level in range(depth)]

    def numbers(*shape):
        return torch.randn(shape, dtype=dtype)

    scale = math.sqrt(hidden / max(1, pattern.nnz))
    return {
        "x": numbers(steps, fed, batch, blocks * hidden),
        "s0": numbers(batch, hidden) if initial else None,
        "mask": (torch.rand(batch, hidden) < 0.7).to(dtype) / 0.7 if masked else None,
        "bias": numbers(depth, blocks * hidden) if bias else None,
        "values": [numbers(level.nnz) * scale for level in levels],
        "patterns": levels,
    }


def leaves_of(arguments):
    """The tensors that take gradients, by name."""
    own = {name: arguments[name] for name in ("x", "s0", "bias") if arguments[name] is not None}
    return own | {f"values {level}": each for level, each in enumerate(arguments["values"])}


def replaced(arguments, leaves):
    """The arguments with some leaves in place of theirs."""
    values = [leaves.get(f"values {level}", each) for level, each in enumerate(arguments["values"])]
    named = {name: leaf for name, leaf in leaves.items() if name in arguments}
    return arguments | named | {"values": values}


def gradients(function, arguments, upstream, dtype):
    """The outputs and the gradients of all leaves, by name."""
    leaves = {
        name: leaf.detach().to(dtype).requires_grad_()
        for name, leaf in leaves_of(arguments).items()
    }
    own = replaced(arguments, leaves)
    if own["mask"] is not None:
        own["mask"] = own["mask"].to(dtype)
    y = function(**own)
    grads = torch.autograd.grad(y, [*leaves.values()], upstream.to(dtype), materialize_grads=True)
    return {"y": y.detach()} | dict(zip(leaves, grads, strict=True))


def check(arguments):
    """Relative to the largest entry of each, against the slow twin in double precision."""
    x, levels = arguments["x"], arguments["patterns"]
    steps, _, batch, _ = x.shape
    upstream = torch.randn(steps, batch, levels[0].shape[1]).to(x.dtype)
    found = gradients(ops.rhn, arguments, upstream, x.dtype)
    exact = gradients(ops.rhn_ref, arguments, upstream, torch.float64)
    fan = 1 + sum(int(p.crow.diff().max()) + int(p.t_crow.diff().max()) for p in levels)
    for name, wanted in exact.items():
        terms = fan * steps * (batch if name.startswith(("bias", "values")) else 1)
        assert_scaled_sums(found[name], wanted, terms)


SQUARE = square_patterns()


@BLOCKS
@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("depth", [1, 3])
def test_structures(blocks, name, depth):
    for steps, batch in [(1, 1), (5, 1), (2, 3), (9, 12), (3, 16), (2, 20), (2, 130)]:
        for dtype in (torch.float32, torch.float64):
            check(problem(SQUARE[name], steps, batch, dtype, blocks=blocks, depth=depth))


@BLOCKS
@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 8),
    batch=st.one_of(sizes(), st.integers(1, 200)),
    dtype=real_dtypes(),
    levels=st.tuples(st.integers(0, 4), st.integers(1, 4)),
    parts=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_any_structure(blocks, pattern, steps, batch, dtype, levels, parts):
    fed, depth = min(levels), levels[1]
    options = dict(zip(("initial", "masked", "bias"), parts, strict=True))
    check(problem(pattern, steps, batch, dtype, blocks=blocks, depth=depth, fed=fed, **options))


def test_one_unit_in_numbers():
    """Without links and biases, t and c are a half, and h is tanh(x) in the first level only."""
    x = torch.ones(1, 1, 1, 3, dtype=torch.float64)
    x[..., 1:] = 0
    tanh = torch.tensor(1.0, dtype=torch.float64).tanh()
    for blocks in (2, 3):
        levels = [random_pattern(blocks, 1, 0)] * 2
        s0 = torch.ones(1, 1, dtype=torch.float64)
        y = ops.rhn(x[..., :blocks], s0, None, None, [s0[0, :0]] * 2, levels)
        torch.testing.assert_close(y.flatten(), (tanh + 1)[None] / 4)


def test_the_carried_state_is_not_masked():
    """With every unit masked, the network is one without links."""
    arguments = problem(SQUARE["ordinary"], 4, 3)
    nothing = problem(SQUARE["nothing"], 1, 1)["values"]
    empty = [random_pattern(66, 33, 0)] * 2
    alone = ops.rhn(**(arguments | {"mask": None, "values": nothing, "patterns": empty}))
    masked = ops.rhn(**(arguments | {"mask": torch.zeros_like(arguments["mask"])}))
    torch.testing.assert_close(masked, alone, rtol=0, atol=0)


@BLOCKS
@pytest.mark.parametrize(("initial", "bias"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 3)])
def test_derivatives(blocks, initial, bias, steps, batch):
    mask = torch.eye(5, dtype=torch.bool).roll(1, 0)
    mask[2], mask[4] = True, False
    options = {"blocks": blocks, "initial": initial, "bias": bias}
    arguments = problem(pattern_of(mask), steps, batch, **options)
    leaves = leaves_of(arguments)

    def run(*tensors):
        return ops.rhn(**replaced(arguments, dict(zip(leaves, tensors, strict=True))))

    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves.values()])


@pytest.mark.parametrize("batch", [1, 40])
def test_one_gradient_alone_has_the_same_bits(batch):
    arguments = problem(SQUARE["ordinary"], 5, batch, torch.float32)
    upstream = torch.randn(5, batch, 33)
    every = gradients(ops.rhn, arguments, upstream, torch.float32)
    for name, value in leaves_of(arguments).items():
        leaf = value.clone().requires_grad_()
        y = ops.rhn(**replaced(arguments, {name: leaf}))
        (grad,) = torch.autograd.grad(y, leaf, upstream)
        assert torch.equal(grad, every[name]), name


def test_nothing_is_kept_without_gradients():
    arguments = problem(SQUARE["ordinary"], 5, 20, torch.float32)
    recorded = ops.rhn(**arguments)
    with torch.no_grad():
        assert torch.equal(ops.rhn(**arguments), recorded)
        *tensors, values, levels = arguments.values()
        flat = [tensor for pattern in levels for tensor in pattern]
        _, saved = native.rhn_forward(*tensors, torch.cat(values), flat, False)
        assert saved.numel() == 0


@BLOCKS
@pytest.mark.parametrize("present", [True, False])
def test_opcheck(blocks, present):
    options = {"blocks": blocks, "initial": present, "masked": present, "bias": present}
    arguments = problem(random_pattern(9, 9, 25), 4, 3, **options)
    x, s0, mask, bias, values, levels = arguments.values()
    flat = [tensor for pattern in levels for tensor in pattern]
    links = torch.cat(values)
    for leaf in (x, s0, bias, links):
        if leaf is not None:
            leaf.requires_grad_(present)
    opcheck(native.rhn_forward.default, (x, s0, mask, bias, links, flat, present))
    y, saved = native.rhn_forward(x, s0, mask, bias, links, flat, True)
    upstream, wanted = torch.randn_like(y), (present,) * 3
    opcheck(
        native.rhn_backward.default,
        (upstream, saved.detach(), mask, links.detach(), flat, 1, *wanted),
    )


@BLOCKS
def test_compiles_without_a_graph_break(blocks):
    arguments = problem(SQUARE["ordinary"], 4, 3, blocks=blocks)
    upstream = torch.randn(4, 3, 33, dtype=torch.float64)
    compiled = torch.compile(ops.rhn, fullgraph=True, backend="aot_eager")
    found = gradients(compiled, arguments, upstream, torch.float64)
    for name, wanted in gradients(ops.rhn, arguments, upstream, torch.float64).items():
        assert torch.equal(found[name], wanted), name


@BLOCKS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_threads(blocks, dtype, batch, assert_same_bits):
    # More than 100,000 links: three threads run even for a batch of one.
    pattern = random_pattern(300, 300, 60_000)
    arguments = problem(pattern, 3, batch, dtype, blocks=blocks)
    upstream = torch.randn(3, batch, 300)
    assert_same_bits(lambda: gradients(ops.rhn, arguments, upstream, dtype))


def test_a_second_derivative_is_refused_clearly():
    arguments = problem(random_pattern(4, 4, 5), 2, 2)
    x = arguments["x"].requires_grad_()
    (first,) = torch.autograd.grad(ops.rhn(**arguments).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiated once.*ops\.rhn_ref"):
        first.sum().backward()


def test_non_contiguous_arguments():
    arguments = problem(SQUARE["ordinary"], 5, 3)
    upstream = torch.randn(5, 33, 3, dtype=torch.float64).transpose(1, 2)
    expected = gradients(ops.rhn, arguments, upstream.contiguous(), torch.float64)
    x, s0 = arguments["x"], arguments["s0"]
    strided = {"x": x.transpose(0, 3).contiguous().transpose(0, 3), "s0": s0.T.contiguous().T}
    found = gradients(ops.rhn, arguments | strided, upstream, torch.float64)
    for name, wanted in expected.items():
        assert torch.equal(found[name], wanted), name


OTHER = random_pattern(20, 10, 30)
CHANGES = [
    ({"x": torch.randn(4, 1, 3, 8)}, r"x of shape \[steps, levels, batch, 18\].*\[4, 1, 3, 8\]"),
    ({"x": torch.randn(4, 3, 3, 18)}, r"with at most 2 levels, found \[4, 3, 3, 18\]"),
    ({"x": torch.randn(4, 3, 18)}, r"x of shape .* found \[4, 3, 18\]"),
    ({"x": torch.randn(0, 1, 3, 18)}, "expected x of at least one time step"),
    ({"x": torch.randn(4, 1, 3, 18).double()}, "x of dtype float32, found float64"),
    ({"s0": torch.randn(2, 9)}, r"s0 of shape \[3, 9\], found \[2, 9\]"),
    ({"mask": torch.randn(3, 8)}, r"mask of shape \[3, 9\], found \[3, 8\]"),
    ({"bias": torch.randn(18)}, r"bias of shape \[2, 18\], found \[18\]"),
    ({"values": [torch.randn(25)] * 2}, r"values of shape \[100\], found \[50\]"),
    ({"values": [torch.randn(50)]}, "each of at least one level, found 1 and 2"),
    ({"values": [], "patterns": []}, "each of at least one level, found 0 and 0"),
    ({"patterns": [random_pattern(9, 9, 50)] * 2}, r"2 blocks .* 18 or 27 x 9, found 9 x 9"),
    ({"patterns": [random_pattern(18, 9, 70), OTHER]}, "of one shape, 18 x 9, found 20 x 10"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(change, message):
    arguments = problem(random_pattern(9, 9, 25), 4, 3, torch.float32) | change
    with pytest.raises(ValueError, match=message):
        ops.rhn(**arguments)


def test_twins_take_the_same_arguments():
    assert inspect.signature(ops.rhn) == inspect.signature(ops.rhn_ref)
