"""Continuous-time networks over whole sequences, against their slow twin."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import RK4, Euler, Solver
from sparse_engine.ops._native import native
from sparse_engine.ops.ctrnn import ctrnn_and_final
from sparse_engine.testing import (
    assert_scaled_sums,
    pattern_of,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
    square_patterns,
)


class Heun(Solver):
    nodes = (0.0, 1.0)
    weights = (0.5, 0.5)


SOLVERS = pytest.mark.parametrize("solver", [Euler(), Heun(), RK4()])
LEAVES = ("x", "h0", "dt", "values", "rate")


def problem(
    pattern,
    steps,
    batch,
    dtype=torch.float64,
    *,
    solver=None,
    initial=True,
    leaks=True,
    unfolds=2,
    clip=None,
):
    """The arguments of the operation, by name; the last of several steps takes no time."""
    hidden = pattern.shape[0]

    def numbers(*shape):
        return torch.randn(shape, dtype=torch.float64).to(dtype)

    dt = torch.rand(steps, batch, dtype=torch.float64).to(dtype)
    dt[1:][-1:] = 0
    return {
        "x": numbers(steps, batch, hidden),
        "h0": numbers(batch, hidden) if initial else None,
        "dt": dt,
        "values": numbers(pattern.nnz) * (hidden / max(1, pattern.nnz)) ** 0.5,
        "pattern": pattern,
        "rate": 2 * torch.rand(hidden).to(dtype) if leaks else None,
        "unfolds": unfolds,
        "solver": solver or Euler(),
        "clip": clip,
    }


def gradients(function, arguments, upstream, dtype):
    """The states, and the gradients of all tensors, by name."""
    own = dict(arguments)
    for name in LEAVES:
        if own[name] is not None:
            own[name] = own[name].detach().to(dtype).requires_grad_()
    leaves = {name: own[name] for name in LEAVES if own[name] is not None}
    h = function(**own)
    grads = torch.autograd.grad(h, [*leaves.values()], upstream.to(dtype))
    return {"h": h.detach()} | dict(zip(leaves, grads, strict=True))


def check(arguments):
    """Relative to the largest entry of each, against the slow twin in double precision."""
    x, pattern = arguments["x"], arguments["pattern"]
    upstream = torch.randn(x.shape).to(x.dtype)
    found = gradients(ops.ctrnn, arguments, upstream, x.dtype)
    exact = gradients(ops.ctrnn_ref, arguments, upstream, torch.float64)
    fan = int(pattern.crow.diff().max()) + int(pattern.t_crow.diff().max()) + 1
    steps, batch, hidden = x.shape
    for name, wanted in exact.items():
        stages = steps * arguments["unfolds"] * len(arguments["solver"].nodes)
        along = {"values": batch, "rate": batch, "dt": hidden}.get(name, 1)
        assert_scaled_sums(found[name], wanted, fan * stages * along)


SQUARE = square_patterns()


@SOLVERS
@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("initial", [True, False])
def test_structures(name, solver, initial):
    shapes = [(1, 1), (5, 1), (2, 3), (4, 4), (3, 12), (2, 16), (2, 20), (2, 33), (2, 130)]
    for steps, batch in shapes:
        for dtype in (torch.float32, torch.float64):
            check(problem(SQUARE[name], steps, batch, dtype, solver=solver, initial=initial))


@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 5),
    batch=st.one_of(sizes(), st.integers(1, 200)),
    dtype=real_dtypes(),
    solver=st.sampled_from([Euler(), Heun(), RK4()]),
    initial=st.booleans(),
    leaks=st.booleans(),
    unfolds=st.integers(1, 4),
    clip=st.sampled_from([None, 0.5]),
)
def test_any_structure(pattern, steps, batch, dtype, clip, **options):
    # A state that is nearly at the limit may be clipped in one precision only.
    dtype = torch.float64 if clip else dtype
    check(problem(pattern, steps, batch, dtype, clip=clip, **options))


def link_by_link(x, h0, dt, values, pattern, **method):
    """Another slow twin, for sizes at which the dense weight would not fit."""
    rows, cols = pattern.rows(), pattern.col.long()

    def product(h):
        return torch.zeros_like(h).index_add(1, rows, values * h[:, cols])

    return ctrnn_and_final.integrate(product, x, h0, dt, **method)


def test_more_units_than_the_caches_hold():
    arguments = problem(random_pattern(12_000, 12_000, 30_000), 2, 40, solver=Heun())
    upstream = torch.randn_like(arguments["x"])
    found = gradients(ops.ctrnn, arguments, upstream, torch.float64)
    for name, wanted in gradients(link_by_link, arguments, upstream, torch.float64).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-11, atol=1e-11)


def test_one_unit_in_numbers():
    """A unit without links, by hand."""
    nothing, two = random_pattern(1, 1, 0), torch.full((2, 1, 1), 2.0, dtype=torch.float64)
    dt = torch.tensor([[0.5], [0.25]], dtype=torch.float64)
    arguments = {"x": two, "h0": None, "dt": dt, "values": two.new_empty(0), "pattern": nothing}
    y = torch.tensor(2.0, dtype=torch.float64).tanh()
    h = ops.ctrnn(**arguments, rate=two.new_tensor([2.0]))  # h forgets all in 0.5
    torch.testing.assert_close(h.flatten(), torch.stack([0.5 * y, 0.25 * y + 0.25 * y]))
    h = ops.ctrnn(**arguments, unfolds=3, solver=RK4())  # a constant field
    torch.testing.assert_close(h.flatten(), torch.stack([1.5 * y, 2.25 * y]))


def test_rk4_is_of_order_four():
    """Halving the step brings the result sixteen times as near to the exact one."""
    arguments = problem(random_pattern(10, 10, 40), 1, 2, solver=RK4())
    arguments["dt"] = torch.ones(1, 2, dtype=torch.float64)

    def run(unfolds):
        shorter = arguments | {"dt": arguments["dt"] / unfolds, "unfolds": unfolds}
        return ops.ctrnn(**shorter)

    exact = run(64)
    first, second = ((run(unfolds) - exact).norm() for unfolds in (4, 8))
    assert 12 < first / second < 24


@SOLVERS
@pytest.mark.parametrize(("initial", "leaks"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 1), (2, 3)])
def test_derivatives(solver, initial, leaks, steps, batch):
    mask = torch.eye(5, dtype=torch.bool).roll(1, 0)
    mask[2], mask[4] = True, False
    options = {"solver": solver, "initial": initial, "leaks": leaks}
    arguments = problem(pattern_of(mask), steps, batch, **options)
    arguments["dt"] += 0.1  # gradcheck looks at both sides
    names = [name for name in LEAVES if arguments[name] is not None]

    def run(*leaves):
        return ops.ctrnn(**(arguments | dict(zip(names, leaves, strict=True))))

    assert gradcheck(run, [arguments[name].requires_grad_() for name in names])


@pytest.mark.parametrize("solver", [Euler(), RK4()])
def test_no_gradient_passes_a_state_at_the_limit(solver):
    arguments = problem(SQUARE["ordinary"], 5, 4, solver=solver, clip=0.4, unfolds=3)
    h = ops.ctrnn(**arguments)
    share = (h.abs() == 0.4).double().mean()
    assert 0.05 < share < 0.95 and h.abs().max() == 0.4
    check(arguments)


@SOLVERS
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_one_gradient_alone_has_the_same_bits(solver, batch):
    arguments = problem(SQUARE["ordinary"], 4, batch, torch.float32, solver=solver)
    upstream = torch.randn(4, batch, 33)
    every = gradients(ops.ctrnn, arguments, upstream, torch.float32)
    for name in LEAVES:
        leaf = arguments[name].clone().requires_grad_()
        (grad,) = torch.autograd.grad(ops.ctrnn(**(arguments | {name: leaf})), leaf, upstream)
        assert torch.equal(grad, every[name]), name


def test_only_x_and_h_are_kept_for_any_number_of_stages():
    arguments = problem(SQUARE["ordinary"], 3, 40, solver=RK4(), unfolds=9)
    arguments["values"].requires_grad_()
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        h = ops.ctrnn(**arguments)
    assert [size for size in sizes if size > 33 * 40] == [h.numel()] * 2


def native_arguments(arguments):
    """The arguments as the native operation takes them."""
    x, h0, dt, values, pattern, rate, unfolds, solver, clip = arguments.values()
    method = ([*solver.nodes], [*solver.weights], unfolds, clip or torch.inf, 0)
    return (x, h0, dt, rate, values, pattern), method


@SOLVERS
@pytest.mark.parametrize("some", [True, False])
def test_opcheck(solver, some):
    arguments = problem(random_pattern(9, 9, 25), 4, 3, solver=solver, initial=some, leaks=some)
    for name in LEAVES:
        if arguments[name] is not None:
            arguments[name].requires_grad_()
    tensors, method = native_arguments(arguments)
    opcheck(native.ctrnn_forward.default, (*tensors, *method))


@pytest.mark.parametrize("some", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_opcheck_backward(some, wanted):
    arguments = problem(random_pattern(9, 9, 25), 4, 3, solver=RK4(), initial=some, leaks=some)
    tensors, method = native_arguments(arguments)
    h = ops.ctrnn(**arguments)
    upstream = torch.randn_like(h)
    given = (upstream, None, h, *tensors, *method)
    opcheck(native.ctrnn_backward.default, (*given, wanted, wanted, wanted))


def test_compiles_without_a_graph_break():
    arguments = problem(SQUARE["ordinary"], 4, 3, solver=RK4())
    upstream = torch.randn(4, 3, 33, dtype=torch.float64)
    compiled = torch.compile(ops.ctrnn, fullgraph=True, backend="aot_eager")
    found = gradients(compiled, arguments, upstream, torch.float64)
    for name, wanted in gradients(ops.ctrnn, arguments, upstream, torch.float64).items():
        assert torch.equal(found[name], wanted), name


@pytest.mark.parametrize("solver", [Euler(), RK4()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 7, 19, 100])
def test_threads(solver, dtype, batch, assert_same_bits):
    pattern = random_pattern(330, 330, 100_000)
    arguments = problem(pattern, 3, batch, dtype, solver=solver)
    upstream = torch.randn(3, batch, 330)
    assert_same_bits(lambda: gradients(ops.ctrnn, arguments, upstream, dtype))


def test_arguments_that_are_not_contiguous():
    arguments = problem(SQUARE["ordinary"], 4, 6)
    wanted = ops.ctrnn(**arguments)
    for name in ("x", "h0", "dt"):
        tensor = arguments[name]
        arguments[name] = torch.stack([tensor, tensor], -1).transpose(0, 1).contiguous()
        arguments[name] = arguments[name].transpose(0, 1)[..., 1]
        assert not arguments[name].is_contiguous()
    assert torch.equal(ops.ctrnn(**arguments), wanted)


def test_a_second_derivative_is_refused_clearly():
    arguments = problem(random_pattern(4, 4, 5), 2, 2)
    values = arguments["values"].requires_grad_()
    (first,) = torch.autograd.grad(ops.ctrnn(**arguments).sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiated once.*ops.ctrnn_ref"):
        first.sum().backward()


class Uneven(Solver):
    nodes = (0.0, 0.5)
    weights = (1.0,)


late = torch.full((4, 3), 0.5)
late[2, 1] = -0.5
endless = torch.full((4, 3), 0.5)
endless[0, 2] = torch.inf
CHANGES = [
    ({"x": torch.randn(4, 3, 8)}, r"x of shape \[steps, batch, 9\], found \[4, 3, 8\]"),
    ({"h0": torch.randn(2, 9)}, r"h0 of shape \[3, 9\], found \[2, 9\]"),
    ({"dt": torch.ones(4)}, r"dt of shape \[4, 3\], found \[4\]"),
    ({"dt": torch.ones(4, 3).double()}, "dt of dtype float32, found float64"),
    ({"rate": torch.ones(8)}, r"rate of shape \[9\], found \[8\]"),
    ({"values": torch.randn(24)}, r"values of shape \[25\], found \[24\]"),
    ({"pattern": random_pattern(9, 8, 25)}, "square recurrent weight, found 9 x 8"),
    ({"unfolds": 0}, "unfolds of at least 1, found 0"),
    ({"clip": -1.0}, "clip above 0, found -1"),
    ({"solver": Uneven()}, "as many weights as nodes.*found 2 nodes and 1 weights"),
]


def check_refused(change, message):
    arguments = problem(random_pattern(9, 9, 25), 4, 3, torch.float32) | change
    with pytest.raises(ValueError, match=message):
        ops.ctrnn(**arguments)


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(change, message):
    check_refused(change, message)


@pytest.mark.cpu
@pytest.mark.parametrize(
    ("dt", "message"),
    [
        (late, "at least 0, found -0.5 at step 2 of sequence 1"),
        (endless, "finite and at least 0, found inf at step 0 of sequence 2"),
    ],
)
def test_numbers_of_dt(dt, message):
    check_refused({"dt": dt}, message)


def test_the_twin_takes_the_same_arguments():
    assert inspect.signature(ops.ctrnn) == inspect.signature(ops.ctrnn_ref)
