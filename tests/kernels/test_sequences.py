"""Operations of whole sequences: what all of them have."""

import inspect
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.sequences import (
    BEGINS,
    FORMS,
    PACKABLE,
    Form,
    check,
    gated,
    leaves_of,
    outcome,
    with_leaves,
)
from pairwise import pairwise
from testing import (
    Recorder,
    as_tuple,
    is_real,
    pattern_of,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
    square_patterns,
)
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck
from torch.library import opcheck
from torch.utils._pytree import tree_map_only

SQUARE = square_patterns()
EVERY = pytest.mark.parametrize("form", FORMS)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
#: Steps and batches: around the widths that kernels are built of.
SHAPES = [(1, 1), (5, 1), (2, 3), (12, 4), (9, 12), (3, 16), (2, 20), (5, 33), (4, 130)]
LENGTHS = {
    "equal": [4] * 5,
    "one": [3],
    "one left": [9] + [2] * 40,
    "panels end": [7] * 3 + [5] * 70 + [1] * 80,
    "all differ": [*range(20, 0, -1)],
}
SEQUENCES = {str(shape): shape for shape in SHAPES} | LENGTHS


def is_exact_enough(case):
    """A state that is nearly at its limit is clipped in one precision only, and so on."""
    form = FORMS[case["form"]]
    if form.operation == "ltc" and case.get("pattern") == "wide":
        return False  # the reference takes as long for it as for all others
    return not form.clips or case.get("dtype", "float64") == "float64"


def fits(case):
    """Lengths are of some operations alone, and stand beside no episodes."""
    padded = case.get("sequences", "(").startswith("(")
    return padded or (case["form"] in PACKABLE and case.get("begins", "never") == "never")


def problem(form, pattern, sequences, dtype=torch.float64, *, begins=None, **given):
    """Arguments for steps and a batch, or for a list of lengths."""
    if isinstance(sequences, list):
        return form.problem(pattern, None, None, dtype, lengths=sequences, **given)
    resets = {} if begins is None else {"resets": begins(*sequences)}
    return form.problem(pattern, *sequences, dtype, **given) | resets


@pairwise(
    lambda case: is_exact_enough(case) and fits(case),
    form=[*FORMS],
    sequences=SEQUENCES,
    pattern=SQUARE,
    begins=BEGINS,
    dtype=DTYPES,
    initial=[True, False],
    bias=[True, False],
)
def test_equals_its_reference(form, sequences, pattern, begins, dtype, initial, bias):
    form = FORMS[form]
    given = {"begins": begins, "initial": initial, "bias": bias}
    check(form, problem(form, pattern, sequences, dtype, **given))


@pairwise(
    operation=["rnn", "lstm", "gru"],
    inputs=[1, 15, 16, 17, 64, 130],
    shape=[(1, 1), (5, 2), (3, 7), (4, 20), (2, 33), (3, 130)],
    dtype=DTYPES,
    bias=[True, False],
)
def test_dense_inputs(operation, inputs, shape, dtype, bias):
    form = Form(operation, partial(gated, operation=operation, inputs=inputs))
    check(form, form.problem(SQUARE["wide"], *shape, dtype, bias=bias))


@EVERY
@settings(max_examples=10)
@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 8),
    batch=st.one_of(sizes(), st.integers(1, 200)),
    dtype=real_dtypes(),
    initial=st.booleans(),
    bias=st.booleans(),
)
def test_any_structure(form, pattern, steps, batch, dtype, initial, bias):
    form = FORMS[form]
    if form.operation == "ltc":
        batch = min(batch, 12)
    dtype = torch.float64 if form.clips else dtype
    check(form, form.problem(pattern, steps, batch, dtype, initial=initial, bias=bias))


def awkward(units=5):
    """A pattern with a full row and an empty one."""
    mask = torch.eye(units, dtype=torch.bool).roll(1, 0)
    mask[2], mask[4] = True, False
    return pattern_of(mask)


SMALL = {"(3, 2)": (3, 2), "lengths": [3, 3, 1]}
SOME = {name: BEGINS[name] for name in ("never", "some")}


@pairwise(fits, form=[*FORMS], sequences=SMALL, begins=SOME)
def test_derivatives(form, sequences, begins):
    form = FORMS[form]
    arguments = problem(form, awkward(), sequences, begins=begins)
    if "dt" in arguments:
        arguments["dt"] += 0.1  # gradcheck looks at both sides of 0
    leaves = {name: leaf for name, leaf in leaves_of(arguments).items() if leaf.numel()}

    def run(*own):
        return form.function(**with_leaves(arguments, dict(zip(leaves, own, strict=True))))

    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves.values()], fast_mode=True)


@EVERY
def test_every_episode_alone_gives_the_same(form):
    """Nothing before an episode has an influence on it, forward or backward."""
    form = FORMS[form]
    arguments = problem(form, SQUARE["ordinary"], (7, 2))
    arguments["resets"] = (torch.arange(7) == 3)[:, None].repeat(1, 2)
    timed = [name for name in ("x", "dt", "current", "conductance", "resets") if name in arguments]
    states = [name for name in ("h0", "c0", "s0") if name in arguments]
    first = arguments | {name: arguments[name][:3] for name in timed}
    second = arguments | {name: arguments[name][3:] for name in timed} | dict.fromkeys(states)
    second["resets"] = None
    leaves = {name: arguments[name].clone().requires_grad_() for name in (*states, timed[0])}
    whole, *last = as_tuple(form.function(**(arguments | leaves)))
    own, *end = as_tuple(form.function(**second))
    torch.testing.assert_close(whole[:3], as_tuple(form.function(**first))[0])
    torch.testing.assert_close([whole[3:], *last], [own, *end])
    grads = torch.autograd.grad(whole[3:].sum(), [*leaves.values()], retain_graph=True)
    assert not any(each.any() for each in grads[:-1]) and not grads[-1][:3].any()
    grads = torch.autograd.grad(whole[2].sum(), [*leaves.values()])
    assert all(each.any() for each in grads if each.numel()) and not grads[-1][3:].any()


@pairwise(form=[*FORMS], batch=[1, 40], pattern=["ordinary", "long rows"])
def test_one_gradient_alone_has_the_same_bits(form, batch, pattern):
    form = FORMS[form]
    arguments = form.problem(SQUARE[pattern], 5, batch, torch.float32)
    every = outcome(form.function, arguments)
    for name in leaves_of(arguments):
        found = outcome(form.function, arguments, [name])
        assert all(torch.equal(each, every[what]) for what, each in found.items()), name


@EVERY
def test_nothing_is_kept_without_gradients(form):
    form, batch = FORMS[form], 20
    arguments = form.problem(SQUARE["ordinary"], 5, batch, torch.float32)
    recorded = as_tuple(form.function(**arguments))
    with torch.no_grad(), Recorder() as recorder:
        found = as_tuple(form.function(**arguments))
    assert all(map(torch.equal, found, recorded))
    (results,) = (results for _, _, results in recorder.calls)
    kept = [each for each in results if each.numel() > 33 * batch or len(each) == 5]
    assert [each.shape for each in kept] == [found[0].shape]


#: A form of each operation.
OPERATIONS = {form.operation: form for form in reversed(FORMS.values())}
#: A compiler's own tests are those of fake tensors and of compiled networks.
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
ALL_OF_THEM = pytest.mark.parametrize("operation", OPERATIONS)


@ALL_OF_THEM
@pytest.mark.parametrize("present", [True, False])
def test_opcheck(operation, present):
    """Schema, shapes and autograd of both native operations, as torch's own checker sees them."""
    form, begins = OPERATIONS[operation], BEGINS["some" if present else "never"]
    given = {"initial": present, "bias": present, "begins": begins}
    arguments = problem(form, random_pattern(9, 9, 25), (4, 2), torch.float32, **given)
    values = [name for name in leaves_of(arguments) if "values" in name]
    with Recorder() as recorder:
        outcome(form.function, arguments, None if present else values)
    forward, backward = recorder.calls
    for native, own, _ in (forward, backward):
        own = [
            each.requires_grad_(native is forward[0] and argument.name != "mask")
            if is_real(each)
            else each
            for argument, each in zip(native._schema.arguments, own, strict=False)
        ]
        opcheck(native, tuple(own), test_utils=CHECKS)


@pairwise(form=[*FORMS], begins=SOME, narrow=[False, True], present=[True, False])
def test_fake_tensors_have_the_same_shapes(form, begins, narrow, present):
    """What a compiler is told of results and gradients: shapes, strides and dtypes."""
    form = FORMS[form]
    given = {"begins": begins, "initial": present, "bias": present}
    arguments = problem(form, random_pattern(9, 9, 25), (4, 2), torch.float32, **given)
    if narrow and form.narrow:
        arguments = form.narrowed(arguments)
    expected = outcome(form.function, arguments)
    with FakeTensorMode() as mode:
        fake = tree_map_only(torch.Tensor, mode.from_tensor, arguments)
        found = outcome(form.function, fake)
    for name, each in expected.items():
        layout = (each.shape, each.stride(), each.dtype)
        assert (found[name].shape, found[name].stride(), found[name].dtype) == layout, name


@ALL_OF_THEM
def test_compiles_without_a_graph_break(operation):
    form = OPERATIONS[operation]
    torch._dynamo.reset()
    arguments = problem(form, SQUARE["ordinary"], (4, 3), begins=BEGINS["some"])
    compiled = torch.compile(form.function, fullgraph=True, backend="eager")
    found = outcome(compiled, arguments)
    for name, wanted in outcome(form.function, arguments).items():
        assert torch.equal(found[name], wanted), name


@EVERY
def test_a_second_derivative_is_refused_clearly(form):
    form = FORMS[form]
    arguments = form.problem(random_pattern(4, 4, 5), 2, 2)
    name, leaf = next(iter(leaves_of(arguments).items()))
    leaf.requires_grad_()
    result = as_tuple(form.function(**with_leaves(arguments, {name: leaf})))[0]
    (first,) = torch.autograd.grad(result.sum(), leaf, create_graph=True)
    message = rf"differentiated once.*ops\.{form.operation}\.reference"
    with pytest.raises(RuntimeError, match=message):
        first.sum().backward()


@EVERY
def test_arguments_that_are_not_contiguous(form):
    form = FORMS[form]
    arguments = form.problem(SQUARE["ordinary"], 5, 6)
    apart = {
        name: torch.stack([each, each], -1)[..., 1]
        for name, each in arguments.items()
        if is_real(each) and name != "values"
    }
    found = outcome(form.function, arguments | apart)
    for name, wanted in outcome(form.function, arguments).items():
        assert torch.equal(found[name], wanted), name


@pairwise(
    form=[name for name in FORMS if "no input" not in name and "projected" not in name],
    batch=[2, 20],
    steps=[1, 3],
)
def test_infinite_and_missing_numbers_stay_in_their_sequence(form, batch, steps):
    """After one sum a dense reference makes all numbers of the sequence missing ones."""
    form = FORMS[form]
    arguments = form.problem(SQUARE["ordinary"], steps, batch)
    first = next(iter(arguments))
    plain = as_tuple(form.function(**arguments))[0]
    arguments[first] = arguments[first].clone()
    strange = torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=torch.float64)
    of_one = arguments[first][0, ..., 0, :3]
    of_one[:] = strange[: of_one.shape[-1]]
    found = as_tuple(form.function(**arguments))
    if steps == form.stages == 1:
        wanted = as_tuple(form.reference(**arguments))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert torch.equal(found[0][:, 1:], plain[:, 1:]) and found[0][:, 0].isnan().any()


@ALL_OF_THEM
def test_the_reference_takes_the_same_arguments(operation):
    form = OPERATIONS[operation]
    assert inspect.signature(form.function) == inspect.signature(form.reference)


@EVERY
def test_no_sequences(form):
    form = FORMS[form]
    arguments = form.problem(random_pattern(7, 7, 20), 4, 0)
    for name, found in outcome(form.function, arguments).items():
        assert not found.any(), name


@pytest.mark.parametrize("form", [name for name in FORMS if not name.startswith("rnn")])
def test_no_steps(form):
    form = FORMS[form]
    arguments = form.problem(random_pattern(7, 7, 20), 4, 3)
    empty = {n: arguments[n][:0] for n in ("x", "dt", "current", "conductance") if n in arguments}
    with pytest.raises(ValueError, match=r"(x|current) of at least one time step"):
        form.function(**(arguments | empty))


def test_calls_without_resets_keep_working():
    """Programs that were exported before there were resets call operations without them."""
    values, pattern = torch.randn(20, dtype=torch.float64), random_pattern(7, 7, 20)
    x = torch.randn(4, 3, 7, dtype=torch.float64, requires_grad=True)

    def run(x):
        links = values.to(x.device), [each.to(x.device) for each in pattern]
        return torch.ops.sparse_engine.rnn_forward(x, None, None, None, *links, None, 0)

    found = outcome(run, {"x": x})
    wanted = outcome(lambda x: FORMS["rnn"].function(x, None, None, values, pattern), {"x": x})
    assert all(torch.equal(found[name], each) for name, each in wanted.items())
    assert torch.equal(torch.vmap(run)(x[None])[0], run(x))
    (gradient,) = torch.autograd.grad(run(x).sum(), x)
    assert torch.equal(torch.func.grad(lambda x: run(x).sum())(x), gradient)
    assert run(x.to("meta")).shape == (4, 3, 7)
