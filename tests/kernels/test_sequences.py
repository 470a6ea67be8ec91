"""Operations of whole sequences: what all of them have."""

import inspect
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels.sequences import (
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
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine.testing import (
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


def is_exact_enough(case):
    """A state that is nearly at its limit is clipped in one precision only, and so on."""
    form = FORMS[case["form"]]
    if form.operation == "ltc" and case.get("pattern") == "wide":
        return False  # the reference takes as long for it as for all others
    return not form.clips or case.get("dtype", "float64") == "float64"


@pairwise(
    is_exact_enough,
    form=[*FORMS],
    pattern=SQUARE,
    shape=SHAPES,
    dtype=DTYPES,
    initial=[True, False],
    bias=[True, False],
)
def test_equals_its_reference(form, pattern, shape, dtype, initial, bias):
    form = FORMS[form]
    check(form, form.problem(pattern, *shape, dtype, initial=initial, bias=bias))


@pairwise(
    is_exact_enough,
    form=PACKABLE,
    lengths=LENGTHS,
    pattern={name: SQUARE[name] for name in ("ordinary", "uneven")},
    dtype=DTYPES,
    initial=[True, False],
)
def test_sequences_of_different_lengths(form, lengths, pattern, dtype, initial):
    form = FORMS[form]
    check(form, form.problem(pattern, None, None, dtype, initial=initial, lengths=lengths))


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


@pairwise(
    lambda case: case.get("lengths", "None") == "None" or case["form"] in PACKABLE,
    form=[*FORMS],
    lengths=[None, [3, 3, 1]],
    shape=[(1, 1), (4, 1), (3, 3)],
    present=["all", "no state", "no bias"],
)
def test_derivatives(form, lengths, shape, present):
    form = FORMS[form]
    given = {"initial": present != "no state", "bias": present != "no bias", "lengths": lengths}
    arguments = form.problem(awkward(), *shape, **given)
    if "dt" in arguments:
        arguments["dt"] += 0.1  # gradcheck looks at both sides of 0
    leaves = {name: leaf for name, leaf in leaves_of(arguments).items() if leaf.numel()}

    def run(*own):
        return form.function(**with_leaves(arguments, dict(zip(leaves, own, strict=True))))

    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves.values()])


@pairwise(form=[*FORMS], batch=[1, 3, 40], pattern=["ordinary", "long rows"])
def test_one_gradient_alone_has_the_same_bits(form, batch, pattern):
    form = FORMS[form]
    arguments = form.problem(SQUARE[pattern], 5, batch, torch.float32)
    every = outcome(form.function, arguments)
    for name in leaves_of(arguments):
        found = outcome(form.function, arguments, [name])
        assert all(torch.equal(each, every[what]) for what, each in found.items()), name


@pairwise(form=[*FORMS], batch=[1, 20])
def test_nothing_is_kept_without_gradients(form, batch):
    form = FORMS[form]
    arguments = form.problem(SQUARE["ordinary"], 5, batch, torch.float32)
    recorded = as_tuple(form.function(**arguments))
    with torch.no_grad(), Recorder() as recorder:
        found = as_tuple(form.function(**arguments))
    assert all(map(torch.equal, found, recorded))
    (results,) = (results for _, _, results in recorder.calls)
    kept = [each for each in results if each.numel() > 33 * batch or len(each) == 5]
    assert [each.shape for each in kept] == [found[0].shape]


@pairwise(
    lambda case: case.get("lengths", "None") == "None" or case["form"] in PACKABLE,
    form=[*FORMS],
    lengths=[None, [4, 2]],
    narrow=[False, True],
    present=[True, False],
)
def test_opcheck(form, lengths, narrow, present):
    """Schema, shapes and autograd of both native operations, as torch's own checker sees them."""
    form = FORMS[form]
    given = {"initial": present, "bias": present, "lengths": lengths}
    arguments = form.problem(random_pattern(9, 9, 25), 4, 2, torch.float32, **given)
    if narrow and form.narrow:
        arguments = form.narrowed(arguments)
        if form.operation in ("lstm", "on_lstm") and present:
            arguments["h0"] = arguments["h0"].bfloat16()
    values = [name for name in leaves_of(arguments) if "values" in name]
    with Recorder() as recorder:
        outcome(form.function, arguments, None if present else values)
    forward, *backward = recorder.calls
    assert len(backward) == 1
    for operation, own, _ in recorder.calls:
        own = [
            each.detach()
            .clone()
            .requires_grad_(operation is forward[0] and argument.name != "mask")
            if is_real(each)
            else each
            for argument, each in zip(operation._schema.arguments, own, strict=False)
        ]
        opcheck(operation, tuple(own))


@pairwise(
    lambda case: case.get("lengths", "None") == "None" or case["form"] in PACKABLE,
    form=[*FORMS],
    lengths=[None, [4, 4, 1]],
)
def test_compiles_without_a_graph_break(form, lengths):
    form = FORMS[form]
    torch._dynamo.reset()
    arguments = form.problem(SQUARE["ordinary"], 4, 3, lengths=lengths)
    compiled = torch.compile(form.function, fullgraph=True, backend="aot_eager")
    found = outcome(compiled, arguments)
    for name, wanted in outcome(form.function, arguments).items():
        assert torch.equal(found[name], wanted), name


@pairwise(form=[*FORMS], dtype=DTYPES, batch=[1, 7, 19, 100])
def test_threads(form, dtype, batch, assert_same_bits):
    # More than 100,000 links: three threads run even for a batch of one.
    form = FORMS[form]
    links = 25_000 if form.operation in ("lstm", "normed_lstm", "on_lstm") else 100_000
    arguments = form.problem(random_pattern(330, 330, links), 3, batch, dtype)

    def computed():
        found = outcome(form.function, arguments)
        if "w_input" in arguments:
            del found["x"]  # the end of a product of torch's own
        return found

    assert_same_bits(computed)


@pytest.mark.parametrize("form", PACKABLE)
def test_threads_on_sequences_of_different_lengths(form, assert_same_bits):
    form, lengths = FORMS[form], [9] * 20 + [8] * 30 + [5] * 40 + [1] * 10
    pattern = random_pattern(300, 300, 30_000)
    arguments = form.problem(pattern, None, None, torch.float32, lengths=lengths)

    def computed():
        found = outcome(form.function, arguments)
        if "w_input" in arguments:
            del found["x"]
        return found

    assert_same_bits(computed)


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


@pytest.mark.parametrize("operation", sorted({form.operation for form in FORMS.values()}))
def test_the_reference_takes_the_same_arguments(operation):
    form = next(each for each in FORMS.values() if each.operation == operation)
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
