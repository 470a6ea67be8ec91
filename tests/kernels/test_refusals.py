"""Arguments that operations refuse, and patterns that do not hang together."""

import math
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels.sequences import FORMS, leaves_of, with_leaves
from testing import hub_pattern, patterns, random_pattern, refusals

from sparse_engine import ops
from sparse_engine.ops import Links, Norm, Pattern, Solver
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.pattern import FEWEST_LINKS

PATTERN = random_pattern(70, 100, 800)
VALUES, X, Y = torch.randn(800), torch.randn(100, 4), torch.randn(70, 4)
SHAPE = r"expected \w+ of shape \[.*\].*, found \[{}\]"


def arguments_of(form, dtype=torch.float32, **given):
    return FORMS[form].problem(random_pattern(9, 9, 25), 4, 3, dtype, **given)


@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_of_a_sequence(form):
    """Another shape, dtype or device of one of them."""
    arguments = arguments_of(form)
    leaves = leaves_of(arguments, constants=True)

    def refused(name, wrong, message):
        with pytest.raises(ValueError, match=message):
            FORMS[form].function(**with_leaves(arguments, {name: wrong}))

    for name, leaf in leaves.items():
        longer = torch.cat([leaf, leaf[..., :1]], -1)
        refused(name, longer, SHAPE.format(".*"))
        refused(name, leaf[None], SHAPE.format("1, .*"))
        for other in (leaf.double(), leaf.half()):
            refused(name, other, r"expected \w+ of dtype float\d+.*, found float\d+")
        refused(name, leaf.to("meta"), "on one device")


@pytest.mark.parametrize("form", FORMS)
def test_where_episodes_begin(form):
    arguments = arguments_of(form)

    def refused(resets, message, **others):
        with pytest.raises(ValueError, match=message):
            FORMS[form].function(**(arguments | {"resets": resets} | others))

    refused(torch.zeros(4, 3), "expected resets of dtype bool, found float32")
    message = r"expected resets of shape \[4, 3\], found \[{}\]"
    for wrong, found in (((3, 3), "3, 3"), ((4,), "4"), ((4, 3, 1), "4, 3, 1")):
        refused(torch.zeros(wrong, dtype=torch.bool), message.format(found))
    refused(torch.zeros(4, 3, dtype=torch.bool, device="meta"), "on one device")
    if FORMS[form].packable:
        packed = arguments_of(form, lengths=[4, 4, 4])
        refused(torch.zeros(4, 3, dtype=torch.bool), "no resets beside batch_sizes", **packed)


class Uneven(Solver):
    nodes = (0.0, 0.5)
    weights = (1.0,)


NINE = [random_pattern(rows, 9, 25) for rows in (5, 9, 18)]
OTHERS = [
    *((form, {"nonlinearity": "sin"}, "found 'sin'") for form in ("rnn", "normed_rnn", "rate_rnn")),
    ("rnn", {"pattern": NINE[0]}, "a square recurrent weight, found 5 x 9"),
    ("ctrnn", {"pattern": NINE[0]}, "a square recurrent weight, found 5 x 9"),
    ("lstm", {"pattern": NINE[1]}, "weight of 4 gates, 36 x 9, found 9 x 9"),
    ("gru", {"pattern": NINE[1]}, "weight of 3 gates, 27 x 9, found 9 x 9"),
    ("normed_rnn", {"pattern": NINE[2]}, "weight of 1 gate, 9 x 9, found 18 x 9"),
    ("normed_lstm", {"pattern": NINE[2]}, "weight of 4 gates, 36 x 9, found 18 x 9"),
    ("rnn, dense input", {"x": torch.randn(4, 3, 9)}, r"x of shape \[steps, batch, 16\]"),
    *(
        (form, {"c0": None}, "both h0 and c0 or neither, found one")
        for form in ("lstm", "normed_lstm", "on_lstm")
    ),
    *(
        (form, {"cell_clip": -1}, "expected cell_clip of at least 0, found -1")
        for form in ("lstm", "normed_lstm")
    ),
    *((f, {"norm": Norm(eps=-1.0)}, "eps of at least 0, found -1") for f in ("normed_rnn",)),
    ("normed_lstm", {"norm": Norm(eps=math.nan)}, "eps of at least 0, found -?nan"),
    ("rhn", {"values": [torch.randn(50)]}, "each of at least one level, found 1 and 2"),
    ("rhn", {"values": [], "patterns": []}, "each of at least one level, found 0 and 0"),
    ("rhn", {"patterns": [NINE[1]] * 2}, r"2 blocks .* 18 or 27 x 9, found 9 x 9"),
    ("rhn", {"patterns": [NINE[2], NINE[1]]}, "of one shape, 18 x 9, found 9 x 9"),
    ("on_lstm", {"pattern": random_pattern(24, 9, 9)}, "rows x 9 .* found 24 x 9"),
    ("on_lstm", {"pattern": random_pattern(44, 9, 9)}, "chunks that divide 9, found 44 x 9"),
    *((f, {"unfolds": 0}, "unfolds of at least 1, found 0") for f in ("ctrnn", "rate_rnn", "ltc")),
    ("ctrnn", {"clip": -1.0}, "clip above 0, found -1"),
    ("ctrnn", {"solver": Uneven()}, "as many weights as nodes.*found 2 nodes and 1 weights"),
]


@pytest.mark.parametrize(("form", "change", "message"), OTHERS)
def test_what_operations_take_besides(form, change, message):
    with pytest.raises(ValueError, match=message):
        FORMS[form].function(**(arguments_of(form) | change))


def test_an_activation_that_no_kernel_has():
    for form, message in (("rate_rnn", r"\[0, 4\), found 4"), ("ctrnn", r"\[0, 1\), found 4")):
        arguments = arguments_of(form)
        tensors = [arguments[name] for name in ("x", "h0", "dt", "rate", "values")]
        operation = getattr(native, f"{form}_forward")
        with pytest.raises(ValueError, match=f"activation in {message}"):
            operation(*tensors, [*arguments["pattern"]], [0.0], [1.0], 1, None, 4)


def test_a_projection_that_does_not_fit():
    arguments = arguments_of("lstm, projected")
    other = torch.randn(10), random_pattern(4, 9, 10)
    with pytest.raises(ValueError, match="recurrent weight of 4 gates, 36 x 4, found 36 x 3"):
        ops.lstm(**(arguments | {"projection": other}))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_no_input(cell):
    arguments = arguments_of(f"{cell}, dense input")
    none = {"x": arguments["x"][..., :0], "w_input": arguments["w_input"][:, :0]}
    with pytest.raises(ValueError, match="of at least one input"):
        FORMS[cell].function(**(arguments | none))


@pytest.mark.cpu
def test_timespans_that_are_none():
    for at, dt, message in (
        ((2, 1), -0.5, "at least 0, found -0.5 at step 2 of sequence 1"),
        ((0, 2), torch.inf, "finite and at least 0, found inf at step 0 of sequence 2"),
    ):
        arguments = arguments_of("ctrnn")
        arguments["dt"][at] = dt
        with pytest.raises(ValueError, match=message):
            ops.ctrnn(**arguments)


@pytest.mark.parametrize(
    ("run", "operands"),
    [
        (lambda v, x, b: ops.spmm(v, PATTERN, x, b), (VALUES, X, torch.randn(70))),
        (lambda v, y: ops.spmm_t(v, PATTERN, y), (VALUES, Y)),
        (lambda a, b: ops.sddmm(PATTERN, a, b), (Y, X)),
        (
            lambda v, x, dy: native.linear_backward(v, PATTERN, x, dy),
            (VALUES, X, Y),
        ),
    ],
    ids=["spmm", "spmm_t", "sddmm", "linear_backward"],
)
def test_operands_of_products(run, operands):
    for i, right in enumerate(operands):
        for wrong, message in (
            (right[:5], SHAPE.format("5.*")),
            (right[None], SHAPE.format("1, .*")),
            (right.double(), r"expected \w+ of dtype float\d+, found float\d+"),
            (right.long(), r"expected \w+ of dtype float32.*, found \w+"),
            (right.half(), r"expected \w+ of dtype float32.*, found float16"),
        ):
            with pytest.raises(ValueError, match=message):
                run(*operands[:i], wrong, *operands[i + 1 :])
    with pytest.raises(ValueError, match="same number of columns, found 4 and 5"):
        ops.sddmm(PATTERN, Y, torch.randn(100, 5))
    with pytest.raises(
        ValueError, match=re.escape("expected input of shape [..., 100], found [7]")
    ):
        ops.linear(VALUES, PATTERN, torch.randn(7))


@pytest.mark.cpu
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"col": PATTERN.col[:-1]}, "expected crow_indices to run from 0 to the 799 links"),
        ({"col": PATTERN.col.long()}, "expected col_indices of dtype int32, found int64"),
        ({"crow": PATTERN.crow.int()}, "expected crow_indices of dtype int64, found int32"),
        ({"crow": PATTERN.crow[:0]}, r"expected crow_indices of shape \[out_features \+ 1\]"),
        ({"permutation": PATTERN.permutation[1:]}, r"permutation of shape \[800\], found \[799\]"),
        ({"t_col": PATTERN.t_col[1:]}, "to run from 0 to the 799 links"),
        ({"plan": PATTERN.plan[:1]}, r"expected plan of shape \[2, 13\], found \[1, 13\]"),
        ({"plan": PATTERN.plan.long()}, "expected plan of dtype int32, found int64"),
        ({"col": PATTERN.col.repeat_interleave(2)[::2]}, "col_indices to be contiguous"),
    ],
)
def test_a_pattern_that_does_not_hang_together(damage, message):
    pattern = PATTERN._replace(**damage)
    for run in (
        lambda: ops.spmm(VALUES, pattern, X),
        lambda: ops.spmm_t(VALUES, pattern, Y),
        lambda: ops.sddmm(pattern, Y, X),
    ):
        with pytest.raises(ValueError, match=message):
            run()


@given(pattern=patterns())
def test_transpose(pattern):
    numbers = torch.arange(1, pattern.nnz + 1, dtype=torch.float64)
    mirrored = pattern._replace(crow=pattern.t_crow, col=pattern.t_col, t_crow=pattern.crow)
    turned = mirrored.dense(numbers[pattern.permutation.long()])
    assert torch.equal(turned, pattern.dense(numbers).T)
    again = Pattern.from_csr(pattern.t_crow, pattern.t_col, pattern.shape[::-1])
    assert torch.equal(again.t_crow, pattern.crow) and torch.equal(again.t_col, pattern.col)


def pieces(crow, most):
    """The row and the first link of each piece of each long row."""
    rows = [
        (i, *ends) for i, ends in enumerate(pairwise(crow.tolist())) if ends[1] - ends[0] > most
    ]
    return [[row, first] for row, start, end in rows for first in range(start, end, most)]


@pytest.mark.parametrize(
    "pattern",
    [
        hub_pattern(24, 900),
        hub_pattern(600, 9),
        random_pattern(9, 400, 2800),
        random_pattern(1, 2_200_000, 2_150_000),
        random_pattern(3, 256, 3 * 256),
    ],
    ids=["long rows", "long columns", "nearly all long", "one row of many links", "nearly long"],
)
def test_the_plan_lists_the_pieces_of_long_rows(pattern):
    most = max(FEWEST_LINKS, pattern.nnz // 8192)
    places = 2 * (pattern.nnz // most)
    assert pattern.plan.shape == (2, 1 + 2 * places)
    for (count, *listed), crow in zip(pattern.plan.tolist(), pattern[::2][:2], strict=True):
        rows, links = listed[:places], listed[places:]
        assert [[*each] for each in zip(rows[:count], links[:count], strict=True)] == pieces(
            crow, most
        )
        assert not any(rows[count:]) and not any(links[count:])


@given(pattern=patterns())
def test_views(pattern):
    links, (rows, cols) = pattern.links, pattern.shape
    mask = pattern.dense(torch.ones(pattern.nnz)) != 0
    assert (links.nnz, links.absent) == (int(mask.sum()), int((~mask).sum()))
    assert torch.equal(links.positions(), mask.flatten().nonzero().squeeze(1))
    assert torch.equal(pattern.rows(), mask.nonzero()[:, 0])
    assert mask.shape == (rows, cols)


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64],
)
def test_any_integer_dtype(dtype):
    pattern = random_pattern(20, 30, 90)
    again = Pattern.from_csr(pattern.crow.to(dtype), pattern.col.to(dtype), (20, 30))
    assert all(torch.equal(a, b) for a, b in zip(again, pattern, strict=True))
    assert (again.crow.dtype, again.col.dtype) == (torch.int64, torch.int32)


def of(crow, col, shape=(3, 5)):
    return lambda: Pattern.from_csr(torch.tensor(crow), torch.tensor(col), shape)


test_wrong_patterns_are_named = refusals(
    (r"expected crow_indices of shape \[4\], found \[2\]", of([0, 1], [0])),
    (r"expected crow_indices of shape \[4\], found \[1, 4\]", of([[0, 0, 0, 1]], [0])),
    ("expected crow_indices to start at 0, found 1", of([1, 1, 1, 1], [0])),
    ("non-decreasing .* found 1 after 2 at position 2", of([0, 2, 1, 2], [0, 1])),
    ("found 5 after 1 at position 3", of([0, 1, 1, 5], [0, 1])),
    ("found -1 after 0 at position 1", of([0, -1, 1, 2], [0, 1])),
    ("expected crow_indices to end at the number of links 2, found 1", of([0, 1, 1, 1], [0, 1])),
    (r"expected col_indices of shape \[2\], found \[1, 2\]", of([0, 1, 1, 2], [[0, 1]])),
    (r"expected col_indices in \[0, 5\), found 5 at position 1", of([0, 1, 1, 2], [0, 5])),
    ("found -1 at position 0", of([0, 1, 1, 2], [-1, 0])),
    ("increasing within row 0, found 1 after 3 at position 1", of([0, 2, 2, 2], [3, 1])),
    (r"found 3 after 3 at position 1 \(a duplicate link\)", of([0, 2, 2, 2], [3, 3])),
    ("expected col_indices that torch.int32 can hold, found 2147483648", of([0, 1, 1, 1], [2**31])),
    ("col_indices .*found -4294967296", of([0, 1, 1, 1], [-(2**32)])),
    ("col_indices .*found -4294967294", of([0, 1, 1, 1], [2 - 2**32])),
    ("crow_indices of an integer dtype, found torch.float32", of([0.0, 1.0, 1.0, 1.0], [0])),
    ("col_indices of an integer dtype, found torch.float32", of([0, 1, 1, 1], [torch.nan])),
    ("col_indices of an integer dtype, found torch.bool", of([0, 1, 1, 1], [True])),
    ("expected in_features in .* found -1", of([0, 1, 1], [0], (2, -1))),
)


@given(data=st.data())
def test_any_single_damage_is_found(data):
    pattern = random_pattern(6, 7, 20, seed=data.draw(st.integers(0, 99)))
    crow, col = pattern.crow.clone(), pattern.col.clone()
    index = data.draw(st.sampled_from([crow, col]))
    at = data.draw(st.integers(0, index.numel() - 1))
    index[at] = data.draw(st.integers(-3, 25).filter(lambda new: new != int(index[at])))
    bounds = crow.tolist()
    rows = [col[first:last].tolist() for first, last in pairwise(bounds)]
    valid = bounds == sorted(bounds) and bounds[0] == 0 and bounds[-1] == 20
    valid = valid and all(
        row == sorted(set(row)) and all(0 <= column < 7 for column in row) for row in rows
    )
    if valid:
        assert Pattern.from_csr(crow, col, (6, 7)).col.tolist() == col.tolist()
    else:
        with pytest.raises(ValueError, match=r"expected .* found"):
            Pattern.from_csr(crow, col, (6, 7))


def test_links_know_their_absent_cells_in_huge_matrices():
    crow = torch.zeros(100_001, dtype=torch.int64)
    assert Links(crow, torch.empty(0, dtype=torch.int32), 2**31 - 1).absent == 100_000 * (2**31 - 1)
