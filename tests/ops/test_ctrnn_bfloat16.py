"""Networks in continuous time with activations in bfloat16, against their twin in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import RK4, Euler
from sparse_engine.ops._native import native
from sparse_engine.ops.ctrnn import ctrnn_and_final
from sparse_engine.testing import patterns, random_pattern, sizes

HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
SOLVERS = pytest.mark.parametrize("solver", [Euler(), RK4()])
LEAVES = ("x", "h0", "dt", "values", "rate")


def problem(
    pattern, steps, batch, *, solver=None, initial=True, leaks=True, unfolds=2, clip=None, most=0.5
):
    """The arguments of the operation, by name; unfolds take at most ``most``."""
    hidden = pattern.shape[0]
    return {
        "x": torch.randn(steps, batch, hidden).bfloat16(),
        "h0": torch.randn(batch, hidden) if initial else None,
        "dt": most * torch.rand(steps, batch),
        "values": torch.randn(pattern.nnz) * (hidden / max(1, pattern.nnz)) ** 0.5,
        "pattern": pattern,
        "rate": 2 * torch.rand(hidden) if leaks else None,
        "unfolds": unfolds,
        "solver": solver or Euler(),
        "clip": clip,
    }


def in_double(arguments):
    own = dict(arguments)
    return own | {name: own[name].double() for name in LEAVES if own[name] is not None}


def twin(**arguments):
    h = ops.ctrnn_ref(**arguments)
    return h, h[-1]


def gradients(function, arguments, upstream):
    """The states, the last of them as it goes on, and the gradients of all tensors, by name."""
    leaves = {
        name: arguments[name].clone().requires_grad_()
        for name in LEAVES
        if arguments[name] is not None
    }
    states = function(**(arguments | leaves))
    upstream = [each.to(state) for each, state in zip(upstream, states, strict=True)]
    grads = torch.autograd.grad(states, [*leaves.values()], upstream)
    return dict(zip(("h", "h_n"), states, strict=True)) | dict(zip(leaves, grads, strict=True))


def check(arguments, bound=2 * HALF):
    """Every result and gradient as a whole, and their dtypes."""
    shape = arguments["x"].shape
    upstream = torch.randn(shape).bfloat16(), torch.randn(shape[1:])
    found = gradients(ctrnn_and_final, arguments, upstream)
    for name, wanted in gradients(twin, in_double(arguments), upstream).items():
        kept = torch.bfloat16 if name in ("h", "x") else torch.float32
        assert found[name].dtype == kept, name
        assert (found[name].double() - wanted).norm() <= bound * wanted.norm(), name


@SOLVERS
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("leaks", [True, False])
def test_close_to_the_twin(solver, initial, leaks):
    options = {"solver": solver, "initial": initial, "leaks": leaks}
    for steps, batch in [(1, 1), (5, 1), (6, 3), (2, 16), (7, 20), (4, 33), (3, 48), (3, 130)]:
        check(problem(random_pattern(70, 70, 900), steps, batch, **options))


@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 5),
    batch=st.one_of(sizes(), st.integers(1, 100)),
    solver=st.sampled_from([Euler(), RK4()]),
    initial=st.booleans(),
    leaks=st.booleans(),
    unfolds=st.integers(1, 3),
)
def test_any_structure(pattern, steps, batch, **options):
    """Each state by itself: of a few units, no norm tells much."""
    arguments = problem(pattern, steps, batch, most=0.2, **options)
    h, h_n = ctrnn_and_final(**arguments)
    exact, _ = twin(**in_double(arguments))
    fan = int(pattern.crow.diff().max()) + 1
    assert h.shape == exact.shape and torch.equal(h[-1], h_n.bfloat16())
    assert ((h_n - exact[-1]).abs() <= HALF * (fan + exact[-1].abs())).all()
    assert ((h - exact).abs() <= HALF * (fan + exact.abs())).all()


@pytest.mark.parametrize("links", [0, 40])
def test_hardly_any_links(links):
    check(problem(random_pattern(30, 30, links), 4, 5))


def test_no_sequences():
    h, h_n = ctrnn_and_final(**problem(random_pattern(9, 9, 25), 4, 0))
    assert h.shape == (4, 0, 9) and h_n.shape == (0, 9)


@pytest.mark.parametrize("batch", [1, 20, 64])
def test_small_steps_add_up(batch):
    """As far as it matters, a state is that of float32: 600 steps of less than its last bit."""
    arguments = problem(random_pattern(9, 9, 0), 600, batch, leaks=False, unfolds=1)
    arguments |= {"h0": torch.ones(batch, 9), "dt": torch.full((600, batch), 2**-10)}
    arguments["x"] = torch.full_like(arguments["x"], 0.5)
    assert (arguments["h0"] + 2**-10).bfloat16().eq(1).all()
    h, h_n = ctrnn_and_final(**arguments)
    expected = ops.ctrnn(**(arguments | {"x": arguments["x"].float()}))
    assert torch.equal(h, expected.bfloat16()) and torch.equal(h_n, expected[-1])


@SOLVERS
@pytest.mark.parametrize("batch", [1, 20])
def test_part_by_part(solver, batch):
    """What goes on from one part of a sequence to the next is not rounded."""
    arguments = problem(random_pattern(70, 70, 900), 6, batch, solver=solver)
    h, h_n = ctrnn_and_final(**arguments)
    parts, state = [], arguments["h0"]
    for x, dt in zip(arguments["x"].split(2), arguments["dt"].split(2), strict=True):
        part, state = ctrnn_and_final(**(arguments | {"x": x, "dt": dt, "h0": state}))
        parts.append(part)
    assert torch.equal(torch.cat(parts), h) and torch.equal(state, h_n)


@SOLVERS
def test_gradients_over_many_steps(solver):
    """Of a network that forgets; one that does not multiplies what was rounded, too."""
    arguments = problem(random_pattern(70, 70, 900), 200, 20, solver=solver, most=0.05)
    arguments["rate"] += 1
    arguments["values"] *= 0.5
    check(arguments)


@pytest.mark.parametrize("batch", [1, 20])
def test_no_gradient_passes_a_state_at_the_limit(batch):
    """Of a limit that bfloat16 does not have; its neighbours there are on either side."""
    for clip in (0.3003, 0.3013):
        drive = torch.tensor([3.0, -3.0, 0.1, -0.1]).bfloat16()
        arguments = problem(random_pattern(4, 4, 0), 5, batch, initial=False, unfolds=3, clip=clip)
        x = drive.expand(5, batch, 4).contiguous().requires_grad_()
        arguments |= {"x": x, "dt": torch.full((5, batch), 0.1), "rate": torch.full((4,), 0.5)}
        h, h_n = ctrnn_and_final(**arguments)
        limit = torch.tensor(clip).bfloat16()
        assert torch.equal(h[-1, :, :2], limit * drive[:2].sign().expand(batch, 2))
        assert torch.equal(h[-1].float() == h_n, torch.tensor([1, 1, 0, 0]).bool().expand(batch, 4))
        (dx,) = torch.autograd.grad(h[-1].float().sum(), x)
        assert not dx[..., :2].any() and dx[..., 2:].all()


@pytest.mark.parametrize("batch", [1, 5, 16, 20, 33, 48, 64, 100])
def test_the_weight_gradient_is_that_of_what_is_kept(batch):
    """With one unfold of one stage, products are of x's gradient and h alone, and exact."""
    arguments = problem(random_pattern(30, 30, 180), 5, batch, initial=False, unfolds=1)
    x, values = arguments["x"].requires_grad_(), arguments["values"].requires_grad_()
    h = ops.ctrnn(**arguments)
    du, found = torch.autograd.grad(h, [x, values], torch.randn(h.shape).bfloat16())
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]]).detach()
    a, b = (each.double().flatten(0, 1).t() for each in (du, before))
    exact, terms = ops.sddmm(arguments["pattern"], a, b), a.shape[1]
    most = ops.sddmm(arguments["pattern"], a.abs(), b.abs())
    assert ((found - exact).abs() <= 2**-24 * terms * most).all()


@SOLVERS
@pytest.mark.parametrize("batch", [1, 33])
def test_threads(solver, batch, assert_same_bits):
    arguments = problem(random_pattern(300, 300, 60_000), 3, batch, solver=solver)
    upstream = torch.randn(3, batch, 300), torch.randn(batch, 300)
    assert_same_bits(lambda: gradients(ctrnn_and_final, arguments, upstream))


@pytest.mark.parametrize("some", [True, False])
def test_opcheck(some):
    arguments = problem(random_pattern(9, 9, 25), 4, 3, solver=RK4(), initial=some, leaks=some)
    for name in LEAVES:
        if arguments[name] is not None:
            arguments[name].requires_grad_()
    x, h0, dt, values, pattern, rate, unfolds, solver, _ = arguments.values()
    given = (x, h0, dt, rate, values, pattern)
    method = ([*solver.nodes], [*solver.weights], unfolds, torch.inf, 0)
    opcheck(native.ctrnn_forward.default, (*given, *method))
    h, h_n = (each.detach() for each in native.ctrnn_forward(*given, *method))
    given = [each.detach() if isinstance(each, torch.Tensor) else each for each in given]
    upstream = torch.randn_like(h), torch.randn_like(h_n) if some else None
    opcheck(native.ctrnn_backward.default, (*upstream, h, *given, *method, some, some, some))


def test_errors():
    arguments = problem(random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match="expected dt of dtype float32, found bfloat16"):
        ops.ctrnn(**(arguments | {"dt": arguments["dt"].bfloat16()}))
    with pytest.raises(ValueError, match="expected x of dtype float64, found bfloat16"):
        ops.ctrnn(**(in_double(arguments) | {"x": arguments["x"]}))
    with pytest.raises(ValueError, match="expected h0 of dtype float32, found float64"):
        ops.ctrnn(**(arguments | {"h0": arguments["h0"].double()}))
    with pytest.raises(ValueError, match="expected x of at least one time step, found none"):
        ops.ctrnn(**(arguments | {"x": arguments["x"][:0], "dt": arguments["dt"][:0]}))
