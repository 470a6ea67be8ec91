"""Patterns: the transpose, the views, and what is refused."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import hub_pattern, patterns, random_pattern, refusals

from sparse_engine.ops import Links, Pattern
from sparse_engine.ops.pattern import FEWEST_LINKS


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
