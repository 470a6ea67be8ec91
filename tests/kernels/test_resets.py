"""Sequences of several episodes: every operation equals its reference, which sets states back."""

import pytest
import torch
from kernels.sequences import FORMS, NARROW, cast, check, leaves_of, outcome, with_leaves
from pairwise import pairwise
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine.testing import Recorder, as_tuple, is_real, random_pattern, square_patterns

SQUARE = square_patterns()
EVERY = pytest.mark.parametrize("form", FORMS)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
SHAPES = [(1, 1), (6, 1), (5, 3), (9, 12), (4, 33), (3, 130)]
#: Where episodes begin, of a number of steps and sequences.
RESETS = {
    "some": lambda steps, batch: torch.rand(steps, batch) < 0.3,
    "none": lambda steps, batch: torch.zeros(steps, batch, dtype=torch.bool),
    "all": lambda steps, batch: torch.ones(steps, batch, dtype=torch.bool),
    "first step": lambda steps, batch: (torch.arange(steps) == 0)[:, None].repeat(1, batch),
    "one step": lambda steps, batch: (torch.arange(steps) == steps // 2)[:, None].repeat(1, batch),
    "one sequence": lambda steps, batch: (torch.arange(batch) == batch // 2).repeat(steps, 1),
}


def with_resets(form, pattern, steps, batch, dtype=torch.float64, *, begins="some", **given):
    arguments = FORMS[form].problem(pattern, steps, batch, dtype, **given)
    return arguments | {"resets": RESETS[begins](steps, batch)}


def is_exact_enough(case):
    """A state that is nearly at its limit is clipped in one precision only, and so on."""
    if FORMS[case["form"]].operation == "ltc" and case.get("pattern") == "wide":
        return False  # the reference takes as long for it as for all others
    return not FORMS[case["form"]].clips or case.get("dtype", "float64") == "float64"


@pairwise(
    is_exact_enough,
    form=[*FORMS],
    begins=RESETS,
    shape=SHAPES,
    pattern={name: SQUARE[name] for name in ("ordinary", "uneven")},
    dtype=DTYPES,
    initial=[True, False],
    bias=[True, False],
)
def test_equals_its_reference(form, begins, shape, pattern, dtype, initial, bias):
    arguments = FORMS[form].problem(pattern, *shape, dtype, initial=initial, bias=bias)
    check(FORMS[form], arguments | {"resets": begins(*shape)})


@pairwise(form=[*FORMS], begins=RESETS, shape=[(1, 1), (4, 1), (3, 3)], initial=[True, False])
def test_derivatives(form, begins, shape, initial):
    arguments = FORMS[form].problem(random_pattern(5, 5, 12), *shape, initial=initial)
    arguments["resets"] = begins(*shape)
    if "dt" in arguments:
        arguments["dt"] += 0.1  # gradcheck looks at both sides of 0
    leaves = {name: leaf for name, leaf in leaves_of(arguments).items() if leaf.numel()}

    def run(*own):
        named = dict(zip(leaves, own, strict=True))
        return FORMS[form].function(**with_leaves(arguments, named))

    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves.values()])


@EVERY
def test_every_episode_alone_gives_the_same(form):
    """Nothing before an episode has an influence on it, forward or backward."""
    arguments = with_resets(form, SQUARE["ordinary"], 7, 2, begins="none")
    arguments["resets"][3] = True
    timed = [name for name in ("x", "dt", "current", "conductance", "resets") if name in arguments]
    states = [name for name in ("h0", "c0", "s0") if name in arguments]
    first = arguments | {name: arguments[name][:3] for name in timed}
    second = arguments | {name: arguments[name][3:] for name in timed} | dict.fromkeys(states)
    second["resets"] = None
    whole, *last = as_tuple(FORMS[form].function(**arguments))
    own, *end = as_tuple(FORMS[form].function(**second))
    torch.testing.assert_close(whole[:3], as_tuple(FORMS[form].function(**first))[0])
    torch.testing.assert_close(whole[3:], own)
    torch.testing.assert_close(last, end)
    leaves = {name: arguments[name].clone().requires_grad_() for name in (*states, timed[0])}
    y = as_tuple(FORMS[form].function(**(arguments | leaves)))[0]
    grads = torch.autograd.grad(y[3:].sum(), [*leaves.values()], retain_graph=True)
    assert not any(each.any() for each in grads[:-1]) and not grads[-1][:3].any()
    grads = torch.autograd.grad(y[2].sum(), [*leaves.values()])
    assert all(each.any() for each in grads if each.numel()) and not grads[-1][3:].any()


@pairwise(lambda case: FORMS[case["form"]].operation != "ltc", form=NARROW, shape=[(6, 1), (9, 20)])
def test_bfloat16(form, shape):
    """Rounding moves no column of a panel into another."""
    arguments = with_resets(form, SQUARE["ordinary"], *shape, torch.float32)
    arguments = FORMS[form].narrowed(arguments)
    if FORMS[form].operation in ("lstm", "on_lstm"):
        arguments["h0"] = arguments["h0"].bfloat16()
    found = outcome(FORMS[form].function, arguments)
    exact = outcome(FORMS[form].reference, cast(arguments))
    for name, wanted in exact.items():
        error = (found[name].double() - wanted).norm() / wanted.norm().clamp(min=1e-3)
        assert error < 0.05, (name, error)


@EVERY
def test_opcheck(form):
    arguments = with_resets(form, random_pattern(9, 9, 25), 4, 2, torch.float32)
    with Recorder() as recorder:
        outcome(FORMS[form].function, arguments)
    assert len(recorder.calls) == 2
    for operation, own, _ in recorder.calls:
        assert torch.equal(own[-1], arguments["resets"])
        own = [
            each.detach().clone().requires_grad_(operation is recorder.calls[0][0])
            if is_real(each) and argument.name != "mask"
            else each
            for argument, each in zip(operation._schema.arguments, own, strict=True)
        ]
        opcheck(operation, tuple(own))


@EVERY
def test_compiles_without_a_graph_break(form):
    torch._dynamo.reset()
    arguments = with_resets(form, SQUARE["ordinary"], 4, 3)
    compiled = torch.compile(FORMS[form].function, fullgraph=True, backend="aot_eager")
    found = outcome(compiled, arguments)
    for name, wanted in outcome(FORMS[form].function, arguments).items():
        assert torch.equal(found[name], wanted), name


@pairwise(form=[*FORMS], dtype=DTYPES, batch=[1, 19])
def test_threads(form, dtype, batch, assert_same_bits):
    links = 25_000 if FORMS[form].operation in ("lstm", "normed_lstm", "on_lstm") else 100_000
    arguments = with_resets(form, random_pattern(330, 330, links), 3, batch, dtype)

    def computed():
        found = outcome(FORMS[form].function, arguments)
        if "w_input" in arguments:
            del found["x"]  # the end of a product of torch's own
        return found

    assert_same_bits(computed)


@EVERY
def test_where_no_episode_begins_the_bits_are_the_same(form):
    arguments = with_resets(form, SQUARE["ordinary"], 5, 20, torch.float32, begins="none")
    found = outcome(FORMS[form].function, arguments)
    for name, wanted in outcome(FORMS[form].function, arguments | {"resets": None}).items():
        assert torch.equal(found[name], wanted), name


@EVERY
def test_what_does_not_fit(form):
    arguments = with_resets(form, random_pattern(7, 7, 20), 4, 3)

    def refused(resets, message, **others):
        with pytest.raises(ValueError, match=message):
            FORMS[form].function(**(arguments | {"resets": resets} | others))

    refused(torch.zeros(4, 3), "expected resets of dtype bool, found float32")
    message = r"expected resets of shape \[4, 3\], found \[{}\]"
    for wrong, found in (((3, 3), "3, 3"), ((4,), "4"), ((4, 3, 1), "4, 3, 1")):
        refused(torch.zeros(wrong, dtype=torch.bool), message.format(found))
    refused(torch.zeros(4, 3, dtype=torch.bool, device="meta"), "on one device")
    if FORMS[form].packable:
        packed = FORMS[form].problem(random_pattern(7, 7, 20), 4, 3, lengths=[4, 4, 4])
        refused(arguments["resets"], "no resets beside batch_sizes, found both", **packed)


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
