"""smallest, largest, nearest_zero, and scan_absent's large entries, against plain torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels import plain
from testing import awkward_patterns, patterns, random_pattern, real_dtypes, refusals

from sparse_engine import ops
from sparse_engine.ops.topology import scan_absent

AWKWARD = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e30, -1e30, 1e-44, float("inf"), -float("inf")]


@given(
    scores=st.lists(st.one_of(st.sampled_from(AWKWARD), st.floats(-4, 4, width=32)), max_size=80),
    count=st.integers(0, 83),
    bound=st.sampled_from([None, -torch.inf, -1.0, 0.0, 1.0, torch.inf]),
    dtype=real_dtypes(),
)
def test_equals_a_stable_sort(scores, count, bound, dtype):
    scores = torch.tensor(scores, dtype=dtype)
    chosen = ops.topology.smallest(scores, count, above=bound)
    assert torch.equal(chosen, plain.smallest(scores, count, above=bound))
    chosen = ops.topology.largest(scores, count, below=bound)
    assert torch.equal(chosen, plain.largest(scores, count, below=bound))
    if bound is None:
        assert chosen.sum() == min(count, scores.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [1, 3, 1000, 10**9])
def test_many_scores_and_ties(dtype, levels, threads):
    scores = torch.randint(-levels, levels + 1, (200_000,)).to(dtype) / levels
    for count in (0, 1, 60_000, 199_999, 200_000, 300_000):
        expected = plain.smallest(scores, count, above=-0.5)
        for number in (1, 3):
            threads(number)
            assert torch.equal(ops.topology.smallest(scores, count, above=-0.5), expected)


def test_strided_scores():
    scores = torch.randn(60)[::3]
    assert torch.equal(ops.topology.smallest(scores, 7), plain.smallest(scores, 7))


def with_nan(at):
    return torch.randn(10).index_fill(0, torch.tensor(at), torch.nan)


smallest, nearest_zero = ops.topology.smallest, ops.topology.nearest_zero
test_what_cannot_be_chosen_is_refused = refusals(
    ("expected count of at least 0, found -1", lambda: smallest(torch.randn(10), -1)),
    ("dtype float32 or float64, found int64", lambda: smallest(torch.arange(10), 1)),
    (r"scores of shape \[10\], found \[2, 5\]", lambda: smallest(torch.randn(2, 5), 1)),
    *(
        (f"can be ordered, found NaN at link {at}", lambda at=at: smallest(with_nan(at), 2))
        for at in (0, 4, 9)
    ),
    ("NaN at link 1", lambda: nearest_zero(with_nan(1), 0.5)),
    *(
        (r"share in \[0, 1\], found", lambda share=share: nearest_zero(torch.randn(3), share))
        for share in (-0.1, 1.1, torch.nan)
    ),
)


@given(
    values=st.lists(st.one_of(st.sampled_from(AWKWARD), st.floats(-4, 4, width=32)), max_size=80),
    share=st.one_of(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.floats(0, 1)),
    dtype=real_dtypes(),
)
def test_nearest_zero_is_two_stable_sorts(values, share, dtype):
    values = torch.tensor(values, dtype=dtype)
    assert torch.equal(ops.topology.nearest_zero(values, share), plain.nearest_zero(values, share))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [1, 3, 1000, 10**9])
def test_nearest_zero_of_many(dtype, levels, threads):
    values = torch.randint(-levels, levels + 1, (200_000,)).to(dtype) / levels
    for share in (0.0, 1e-5, 0.3, 0.999, 1.0):
        expected = plain.nearest_zero(values, share)
        for number in (1, 3):
            threads(number)
            assert torch.equal(ops.topology.nearest_zero(values, share), expected)


def check(block, links, **options):
    magnitudes, cells = scan_absent(block, links, **options)
    expected_magnitudes, expected_cells = plain.scan_absent(block, links, **options)
    assert torch.equal(cells, expected_cells)
    assert torch.equal(magnitudes.nan_to_num(7), expected_magnitudes.nan_to_num(7))
    return magnitudes, cells


@given(pattern=patterns(), dtype=real_dtypes(), above=st.sampled_from([-1.0, 0.0, 0.5, 2.0]))
def test_any_structure(pattern, dtype, above):
    check(torch.randn(pattern.shape, dtype=dtype), pattern.links, above=above)


@pytest.mark.parametrize("name", awkward_patterns())
def test_awkward_structures(name):
    pattern = awkward_patterns()[name]
    _, cells = check(torch.randn(pattern.shape), pattern.links)
    assert cells.numel() == pattern.links.absent


def test_blocks_of_rows_make_the_whole():
    pattern, dense = random_pattern(50, 300, 4000), torch.randn(50, 300)
    parts = [
        check(dense[first : first + 7], pattern.links, first_row=first, above=1.0)
        for first in range(0, 50, 7)
    ]
    whole = scan_absent(dense, pattern.links, above=1.0)
    for part, expected in zip(zip(*parts, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(part), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_numbers(dtype):
    tiny = torch.finfo(dtype).smallest_normal / 4
    block = torch.tensor([[0.0, -0.0, torch.inf, -torch.inf, torch.nan, tiny, -tiny]], dtype=dtype)
    links = random_pattern(1, 7, 0).links
    for above in (-1.0, 0.0, 1.0, torch.inf):
        check(block, links, above=above)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_threads(count, threads):
    pattern, dense = random_pattern(600, 500, 20_000), torch.randn(600, 500)
    threads(count)
    check(dense, pattern.links, above=0.1)


def scanned(*shape, block=None, first_row=0):
    block = torch.randn(shape) if block is None else block
    return lambda: scan_absent(block, random_pattern(4, 5, 3).links, first_row=first_row)


test_other_blocks_are_refused = refusals(
    (r"block of shape \[rows, 5\], found \[3, 4\]", scanned(3, 4)),
    (r"block of shape \[rows, 5\], found \[5\]", scanned(5)),
    (r"expected rows in \[0, 4\), found 3 from 2 on", scanned(3, 5, first_row=2)),
    (r"expected rows in \[0, 4\), found 3 from -1 on", scanned(3, 5, first_row=-1)),
    ("expected a contiguous block", scanned(block=torch.randn(5, 4).T)),
    ("float32 or float64, found int64", scanned(block=torch.ones(4, 5, dtype=torch.int64))),
)
