"""The ordered-neurons LSTM over whole sequences, against its slow twin."""

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
from sparse_engine.testing import assert_scaled_sums, pattern_of, random_pattern, real_dtypes


def problem(
    units, chunks, steps, batch, dtype=torch.float64, *, density=0.3, initial=True, bias=True
):
    """The arguments of the operation, by name."""
    rows = 2 * chunks + 4 * units
    mask = torch.rand(rows, units) < density
    if 0 < density < 1:
        mask[rows // 2], mask[chunks : chunks + 3] = True, False
    pattern = pattern_of(mask)

    def numbers(*shape):
        return torch.randn(shape, dtype=dtype)

    return {
        "x": numbers(steps, batch, rows),
        "h0": numbers(batch, units) if initial else None,
        "c0": numbers(batch, units) if initial else None,
        "bias": numbers(rows) if bias else None,
        "values": numbers(pattern.nnz) * math.sqrt(rows / max(1, pattern.nnz)),
        "pattern": pattern,
    }


def gradients(function, arguments, upstream, dtype):
    """The results, and the gradients of all tensors, by name."""
    own = {
        name: value.detach().to(dtype).requires_grad_()
        if isinstance(value, torch.Tensor)
        else value
        for name, value in arguments.items()
    }
    leaves = {name: value for name, value in own.items() if isinstance(value, torch.Tensor)}
    results = function(**own)
    grads = torch.autograd.grad(results, [*leaves.values()], [each.to(dtype) for each in upstream])
    found = zip(("h", "c_n", *leaves), (*results, *grads), strict=True)
    return {name: tensor.detach() for name, tensor in found}


def upstream_of(arguments):
    steps, batch, _ = arguments["x"].shape
    shape = (steps, batch, arguments["pattern"].shape[1])
    return torch.randn(shape).to(arguments["x"].dtype), torch.randn(shape[1:])


def check(arguments):
    """Relative to the largest entry of each, against the slow twin in double precision."""
    x, pattern = arguments["x"], arguments["pattern"]
    steps, batch, _ = x.shape
    upstream = upstream_of(arguments)
    found = gradients(ops.on_lstm, arguments, upstream, x.dtype)
    exact = gradients(ops.on_lstm_ref, arguments, upstream, torch.float64)
    # Gradients of the masters are sums over all units.
    fan = int(pattern.crow.diff().max()) + int(pattern.t_crow.diff().max()) + pattern.shape[1]
    for name, wanted in exact.items():
        terms = fan * steps * (batch if name in ("bias", "values") else 1)
        assert_scaled_sums(found[name], wanted, terms)


@pytest.mark.parametrize(("units", "chunks"), [(1, 1), (7, 7), (12, 1), (40, 8), (300, 30)])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("initial", [True, False])
def test_structures(units, chunks, density, initial):
    for steps, batch in [(1, 1), (4, 1), (2, 3), (5, 12), (3, 16), (2, 20), (2, 130)]:
        for dtype in (torch.float32, torch.float64):
            options = {"density": density, "initial": initial}
            check(problem(units, chunks, steps, batch, dtype, **options))


@given(
    chunks=st.integers(1, 20),
    chunk=st.integers(1, 9),
    steps=st.integers(1, 8),
    batch=st.integers(1, 150),
    dtype=real_dtypes(),
    density=st.sampled_from([0.0, 0.03, 0.3, 1.0]),
    initial=st.booleans(),
    bias=st.booleans(),
)
def test_any_structure(chunks, chunk, steps, batch, dtype, density, initial, bias):
    options = {"density": density, "initial": initial, "bias": bias}
    check(problem(chunks * chunk, chunks, steps, batch, dtype, **options))


def test_two_chunks_in_numbers():
    """Without links, c0 and biases: every gate is a half, and both masters are (1/2, 0; 1/2, 1)."""
    x = torch.zeros(1, 1, 2 * 2 + 4 * 4, dtype=torch.float64)
    x[..., 8:12] = 1.0
    nothing = random_pattern(20, 4, 0)
    tanh = torch.tensor(1.0, dtype=torch.float64).tanh()
    c0 = torch.ones(1, 4, dtype=torch.float64)
    h, c_n = ops.on_lstm(x, 0 * c0, c0, None, x.new_empty(0), nothing)
    # Of the chunks: both masters at once 1/4 and 0, forget 3/8 and 1, input 3/8 and 0.
    wanted = torch.stack([0.375 + 0.375 * tanh] * 2 + [torch.ones_like(tanh)] * 2)
    torch.testing.assert_close(c_n.flatten(), wanted)
    torch.testing.assert_close(h.flatten(), wanted.tanh() / 2)


@pytest.mark.parametrize(("initial", "bias"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 3)])
def test_derivatives(initial, bias, steps, batch):
    arguments = problem(6, 3, steps, batch, initial=initial, bias=bias)
    names = [name for name, value in arguments.items() if isinstance(value, torch.Tensor)]

    def run(*leaves):
        return ops.on_lstm(**(arguments | dict(zip(names, leaves, strict=True))))

    assert gradcheck(run, [arguments[name].requires_grad_() for name in names])


@pytest.mark.parametrize("batch", [1, 40])
def test_one_gradient_alone_has_the_same_bits(batch):
    arguments = problem(40, 8, 5, batch, torch.float32)
    upstream = upstream_of(arguments)
    every = gradients(ops.on_lstm, arguments, upstream, torch.float32)
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor):
            leaf = value.clone().requires_grad_()
            results = ops.on_lstm(**(arguments | {name: leaf}))
            (grad,) = torch.autograd.grad(results, leaf, upstream)
            assert torch.equal(grad, every[name]), name


def test_nothing_is_kept_without_gradients():
    arguments = problem(40, 8, 5, 20, torch.float32)
    recorded = ops.on_lstm(**arguments)
    with torch.no_grad():
        for one, other in zip(ops.on_lstm(**arguments), recorded, strict=True):
            assert torch.equal(one, other)
        *leaves, pattern = arguments.values()
        *_, c, saved = native.on_lstm_forward(*leaves, pattern, False)
        assert c.numel() == saved.numel() == 0


@pytest.mark.parametrize("present", [True, False])
def test_opcheck(present):
    arguments = problem(6, 3, 4, 3, initial=present, bias=present)
    *leaves, pattern = arguments.values()
    leaves = [None if leaf is None else leaf.requires_grad_(present) for leaf in leaves]
    opcheck(native.on_lstm_forward.default, (*leaves, pattern, present))
    leaves = [None if leaf is None else leaf.detach() for leaf in leaves]
    _, h0, c0, _, values = leaves
    h, c_n, c, saved = native.on_lstm_forward(*leaves, pattern, True)
    last = torch.randn_like(c_n) if present else None
    inputs = (torch.randn_like(h), last, h, c, saved, h0, c0, values, pattern, present, present)
    opcheck(native.on_lstm_backward.default, inputs)


def test_compiles_without_a_graph_break():
    arguments = problem(40, 8, 4, 3)
    upstream = upstream_of(arguments)
    compiled = torch.compile(ops.on_lstm, fullgraph=True, backend="aot_eager")
    found = gradients(compiled, arguments, upstream, torch.float64)
    for name, wanted in gradients(ops.on_lstm, arguments, upstream, torch.float64).items():
        assert torch.equal(found[name], wanted), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 7, 100])
@pytest.mark.parametrize("chunks", [30, 300])
def test_threads(dtype, batch, chunks, assert_same_bits):
    # More than 100,000 links: three threads run even for a batch of one.
    arguments = problem(300, chunks, 3, batch, dtype)
    assert arguments["pattern"].nnz > 100_000
    upstream = upstream_of(arguments)
    assert_same_bits(lambda: gradients(ops.on_lstm, arguments, upstream, dtype))


def test_a_second_derivative_is_refused_clearly():
    arguments = problem(6, 3, 2, 2)
    x = arguments["x"].requires_grad_()
    (first,) = torch.autograd.grad(ops.on_lstm(**arguments)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiated once.*ops\.on_lstm_ref"):
        first.sum().backward()


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_master_gates(dtype, batch):
    """The softmax neither overflows nor loses its small terms."""
    arguments = problem(8, 8, 1, batch, dtype, density=0.0)
    arguments["x"][..., :16] *= 300
    arguments["x"][0, 0, :4] = torch.tensor([1e30, -1e30, 0, 80])
    check(arguments)


@pytest.mark.parametrize("batch", [1, 20])
def test_infinite_and_missing_numbers(batch):
    arguments = problem(4, 4, 1, batch, torch.float32, density=0.0)
    strange = torch.tensor([-torch.inf, 1.0, -torch.inf, 0.0])
    for first in (0, 4, 8):
        arguments["x"][..., first : first + 4] = strange
    arguments["x"][0, -1, 12] = torch.nan
    found, wanted = ops.on_lstm(**arguments), ops.on_lstm_ref(**arguments)
    torch.testing.assert_close(found, wanted, equal_nan=True)


CHANGES = [
    ({"x": torch.randn(4, 3, 8)}, r"x of shape \[steps, batch, 30\], found \[4, 3, 8\]"),
    ({"x": torch.randn(0, 3, 30)}, "expected x of at least one time step"),
    ({"h0": torch.randn(2, 6)}, r"h0 of shape \[3, 6\], found \[2, 6\]"),
    ({"c0": torch.randn(3, 5)}, r"c0 of shape \[3, 6\], found \[3, 5\]"),
    ({"c0": None}, "both h0 and c0 or neither, found one"),
    ({"h0": torch.randn(3, 6).double()}, "h0 of dtype float32, found float64"),
    ({"bias": torch.randn(24)}, r"bias of shape \[30\], found \[24\]"),
    ({"values": torch.randn(1)}, r"values of shape \[\d+\], found \[1\]"),
    ({"pattern": random_pattern(24, 6, 9)}, r"2 \* chunks \+ 4 \* 6 rows x 6 .* found 24 x 6"),
    ({"pattern": random_pattern(31, 6, 9)}, "found 31 x 6"),
    ({"pattern": random_pattern(32, 6, 9)}, "with chunks that divide 6, found 32 x 6"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(change, message):
    arguments = problem(6, 3, 4, 3, torch.float32) | change
    with pytest.raises(ValueError, match=message):
        ops.on_lstm(**arguments)


def test_twins_take_the_same_arguments():
    assert inspect.signature(ops.on_lstm) == inspect.signature(ops.on_lstm_ref)
