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
    NARROW,
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


#: Of enough sums for the norm of what is rounded to tell something.
TELLING = {"nothing", "ordinary", "medium", "long rows"}


def is_exact_enough(case):
    """A state that is nearly at its limit is clipped in one precision only, and so on."""
    name, form = case["form"], FORMS[case["form"]]
    if case.get("dtype") == "bfloat16":
        if name not in NARROW or "relu" in name or case.get("pattern", "nothing") not in TELLING:
            return False
        # Sums in which rounded numbers cancel: of dense inputs, and of dt where f(0) is not 0.
        sums = "dense input" in name or name in ("rate_rnn, softplus", "rate_rnn, sigmoid")
        few = sums and case.get("sequences") in ("(1, 1)", "(5, 1)", "one")
        begins = case.get("begins", "never")
        return not few and begins in (("never",) if form.operation == "ltc" else ("never", "some"))
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
    dtype=DTYPES | {"bfloat16": torch.bfloat16},
    initial=[True, False],
    bias=[True, False],
)
def test_equals_its_reference(form, sequences, pattern, begins, dtype, initial, bias):
    form, real = FORMS[form], torch.promote_types(dtype, torch.float32)
    given = {"begins": begins, "initial": initial, "bias": bias}
    arguments = problem(form, pattern, sequences, real, **given)
    check(form, form.narrowed(arguments) if dtype == torch.bfloat16 else arguments)


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


@pairwise(form=[*FORMS], batch=[1, 40], pattern=["ordinary", "long rows"])
def test_one_gradient_alone_has_the_same_bits(form, batch, pattern):
    form = FORMS[form]
    arguments = form.problem(SQUARE[pattern], 5, batch, torch.float32)
    every = outcome(form.function, arguments)
    for name in leaves_of(arguments):
        found = outcome(form.function, arguments, [name])
        assert all(torch.equal(each, every[what]) for what, each in found.items()), name


@pytest.mark.parametrize("form", [name for name in FORMS if "lstm" in name])
def test_gradients_of_the_last_result_alone(form):
    form, found = FORMS[form], []
    arguments = form.problem(SQUARE["ordinary"], 6, 3)
    for function in (form.function, form.reference):
        leaves = {name: arguments[name].clone().requires_grad_() for name in ("x", "c0", "values")}
        last = function(**with_leaves(arguments, leaves))[-1]
        found.append(torch.autograd.grad(last.sum(), [*leaves.values()]))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


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
ALL_OF_THEM = pytest.mark.parametrize("operation", OPERATIONS)


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


@pytest.mark.parametrize("form", [name for name in FORMS if not name.startswith("rnn")])
def test_no_steps(form):
    form = FORMS[form]
    arguments = form.problem(random_pattern(7, 7, 20), 4, 3)
    empty = {n: arguments[n][:0] for n in ("x", "dt", "current", "conductance") if n in arguments}
    with pytest.raises(ValueError, match=r"(x|current) of at least one time step"):
        form.function(**(arguments | empty))


def test_only_x_and_h_are_kept_for_any_number_of_stages_of_a_solver():
    arguments = FORMS["ctrnn, RK4"].problem(random_pattern(33, 33, 200), 3, 40) | {"unfolds": 9}
    arguments["values"].requires_grad_()
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        h = FORMS["ctrnn"].function(**arguments)
    assert [size for size in sizes if size > 33 * 40] == [h.numel()] * 2
