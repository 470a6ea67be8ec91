"""scan_absent: large entries at absent cells, against plain torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels import plain
from testing import awkward_patterns, patterns, random_pattern, real_dtypes, refusals

from sparse_engine.ops.topology import scan_absent


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
