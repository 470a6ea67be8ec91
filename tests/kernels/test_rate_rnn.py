"""Rate networks over whole sequences, against their reference implementation."""

import inspect

import pytest
import torch
from torch.autograd import gradcheck
from torch.library import opcheck
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.ops import RK4, Euler
from sparse_engine.ops._native import native
from sparse_engine.ops.rate_rnn import rate_rnn_and_final
from sparse_engine.testing import assert_scaled_sums, pattern_of, random_pattern, square_patterns

FUNCTIONS = ["tanh", "relu", "softplus", "sigmoid"]
EVERY = pytest.mark.parametrize("nonlinearity", FUNCTIONS)
LEAVES = ("x", "h0", "dt", "values", "rate")
SQUARE = square_patterns()


def problem(pattern, steps, batch, dtype=torch.float64, *, initial=True, **options):
    """The arguments of the operation, by name; the last of several steps takes no time."""
    hidden = pattern.shape[0]

    def numbers(*shape):
        return torch.randn(shape, dtype=torch.float64).to(dtype)

    dt = 0.5 * torch.rand(steps, batch, dtype=torch.float64).to(dtype)
    dt[1:][-1:] = 0
    return {
        "x": numbers(steps, batch, hidden),
        "h0": numbers(batch, hidden) if initial else None,
        "dt": dt,
        "values": numbers(pattern.nnz) * (hidden / max(1, pattern.nnz)) ** 0.5,
        "pattern": pattern,
        "rate": 2 * torch.rand(hidden).to(dtype),
        "unfolds": 2,
    } | options


def outcome(function, arguments, upstream, dtype=None):
    """The potentials, and the gradients of all tensors, by name; computed in ``dtype``."""
    leaves = {
        name: arguments[name].detach().to(dtype or arguments[name].dtype).requires_grad_()
        for name in LEAVES
        if arguments[name] is not None
    }
    v = function(**(arguments | leaves))
    grads = torch.autograd.grad(v, [*leaves.values()], upstream.to(v.dtype))
    return {"v": v.detach()} | dict(zip(leaves, grads, strict=True))


def check(arguments):
    """Relative to the largest entry of each, against the reference in double precision."""
    steps, batch, hidden = arguments["x"].shape
    upstream = torch.randn(steps, batch, hidden).to(arguments["x"].dtype)
    found = outcome(ops.rate_rnn, arguments, upstream)
    pattern = arguments["pattern"]
    fan = int(pattern.crow.diff().max()) + int(pattern.t_crow.diff().max()) + 1
    for name, wanted in outcome(ops.rate_rnn_ref, arguments, upstream, torch.float64).items():
        along = {"values": batch, "rate": batch, "dt": hidden}.get(name, 1)
        assert_scaled_sums(found[name], wanted, fan * steps * arguments["unfolds"] * along)


@EVERY
@pytest.mark.parametrize("name", SQUARE)
def test_structures(name, nonlinearity):
    shapes = [(1, 1), (5, 1), (2, 3), (4, 4), (3, 12), (2, 16), (2, 20), (2, 33), (2, 130)]
    for steps, batch in shapes:
        for dtype in (torch.float32, torch.float64):
            initial = batch % 2 == 0
            options = {"nonlinearity": nonlinearity, "initial": initial}
            check(problem(SQUARE[name], steps, batch, dtype, **options))


@EVERY
@pytest.mark.parametrize("method", [{"solver": RK4()}, {"clip": 0.5, "unfolds": 3}])
def test_any_method_of_integration(method, nonlinearity):
    check(problem(SQUARE["ordinary"], 4, 5, nonlinearity=nonlinearity, **method))


@EVERY
@pytest.mark.parametrize("solver", [Euler(), RK4()])
def test_derivatives(solver, nonlinearity):
    mask = torch.eye(5, dtype=torch.bool).roll(1, 0)
    mask[2], mask[4] = True, False
    arguments = problem(pattern_of(mask), 2, 3, solver=solver, nonlinearity=nonlinearity)
    arguments["dt"] += 0.1  # gradcheck looks at both sides

    def run(*leaves):
        return ops.rate_rnn(**(arguments | dict(zip(LEAVES, leaves, strict=True))))

    assert gradcheck(run, [arguments[name].requires_grad_() for name in LEAVES])


@EVERY
def test_far_from_zero(nonlinearity):
    """Where exponentials of either sign overflow."""
    for dtype in (torch.float32, torch.float64):
        arguments = problem(SQUARE["ordinary"], 2, 5, dtype, nonlinearity=nonlinearity)
        arguments["h0"] = arguments["h0"] * 1000
        upstream = torch.randn(2, 5, 33)
        found = outcome(ops.rate_rnn, arguments, upstream)
        for name, wanted in outcome(ops.rate_rnn_ref, arguments, upstream, torch.float64).items():
            size = wanted.abs().max()
            assert_close(found[name].double() / size, wanted / size, rtol=0, atol=1e-5)


@EVERY
def test_activations_in_bfloat16(nonlinearity):
    """Every result and gradient as a whole."""
    arguments = problem(random_pattern(70, 70, 700), 6, 20, torch.float32)
    arguments |= {"nonlinearity": nonlinearity, "x": arguments["x"].bfloat16()}
    upstream = torch.randn(6, 20, 70).bfloat16()
    found = outcome(ops.rate_rnn, arguments, upstream)
    assert found["v"].dtype == found["x"].dtype == torch.bfloat16
    for name, wanted in outcome(ops.rate_rnn_ref, arguments, upstream, torch.float64).items():
        assert (found[name].double() - wanted).norm() <= 2**-7 * wanted.norm(), name
    v, final = rate_rnn_and_final(**arguments)
    assert final.dtype == torch.float32 and torch.equal(final.bfloat16(), v[-1])


@EVERY
@pytest.mark.parametrize("batch", [1, 7, 40])
def test_threads(batch, nonlinearity, assert_same_bits):
    pattern = random_pattern(330, 330, 100_000)
    arguments = problem(pattern, 3, batch, torch.float32, nonlinearity=nonlinearity)
    upstream = torch.randn(3, batch, 330)
    assert_same_bits(lambda: outcome(ops.rate_rnn, arguments, upstream))


def test_opcheck_and_compilation():
    arguments = problem(random_pattern(9, 9, 25), 4, 3, nonlinearity="softplus")
    x, h0, dt, values, pattern, rate, *_ = arguments.values()
    tensors = [each.requires_grad_() for each in (x, h0, dt, rate, values)]
    opcheck(native.rate_rnn_forward.default, (*tensors, [*pattern], [0.0], [1.0], 2, None, 2))
    compiled = torch.compile(ops.rate_rnn, fullgraph=True, backend="aot_eager")
    upstream = torch.randn(4, 3, 9)
    found = outcome(compiled, arguments, upstream)
    for name, wanted in outcome(ops.rate_rnn, arguments, upstream).items():
        assert torch.equal(found[name], wanted), name


def test_errors():
    arguments = problem(random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match=r"nonlinearity one of .*'tanh'.*, found 'elu'"):
        ops.rate_rnn(**arguments, nonlinearity="elu")
    tensors = [arguments[name] for name in ("x", "h0", "dt", "rate", "values")]
    with pytest.raises(ValueError, match=r"activation in \[0, 4\), found 4"):
        native.rate_rnn_forward(*tensors, [*arguments["pattern"]], [0.0], [1.0], 1, None, 4)
    with pytest.raises(ValueError, match=r"activation in \[0, 1\), found 1"):
        native.ctrnn_forward(*tensors, [*arguments["pattern"]], [0.0], [1.0], 1, None, 1)


def test_the_reference_takes_the_same_arguments():
    assert inspect.signature(ops.rate_rnn) == inspect.signature(ops.rate_rnn_ref)
