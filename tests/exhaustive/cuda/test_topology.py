"""Rewiring on the GPU against that on the CPU: the same links, the same draws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import awkward_patterns, hub_pattern, integers, patterns, random_pattern

from sparse_engine.ops import RandomKey, _topology_cuda
from sparse_engine.ops._dispatch.native import native

PATTERNS = awkward_patterns() | {"long rows": hub_pattern(12, 900)}


@pytest.fixture(
    scope="module", params=["tensors", *(["on_device"] if torch.cuda.is_available() else [])]
)
def gpu(request):
    """The operations for CUDA tensors, which run on any, and where there is a GPU, on it."""
    if request.param == "on_device":
        return request.getfixturevalue("on_gpu_by_name")
    return _topology_cuda


def check(gpu, name, *arguments):
    found, wanted = getattr(gpu, name)(*arguments), getattr(native, name)(*arguments)
    if isinstance(wanted, torch.Tensor):
        found, wanted = [found], [wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other), name
    return wanted


def rewire(gpu, links, share, key):
    """Drops a share of the links, and draws as many new ones."""
    generator = torch.Generator().manual_seed(key.seed)
    dropped = torch.rand(links.nnz, generator=generator) < share
    absent = links.absent + int(dropped.sum())
    for count in {0, min(absent, int(dropped.sum())), absent // 3, absent}:
        check(gpu, "sample_absent", *links, None, min(count, links.absent), *key)
        (cells,) = check(gpu, "sample_absent", *links, dropped, count, *key)
        crow, col, slot_map, _ = check(gpu, "rewire", *links, ~dropped, cells)
        for entries in (torch.randn(links.nnz), torch.rand(links.nnz) < 0.5):
            check(gpu, "carry", entries, slot_map, col.numel())
        check(gpu, "transpose", crow, col, links.in_features)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_awkward_structures(gpu, name, share):
    rewire(gpu, PATTERNS[name].links, share, RandomKey(7, 3, 1))


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("step", [0, 2**32 - 1])
def test_draws(seed, step):
    """Draws are those of the native kernel, which it returns for a matrix without links."""
    empty = random_pattern(2**15, 2**15, 0).links
    wanted = native.sample_absent(*empty, None, 300, seed, step, 5)
    assert torch.equal(_topology_cuda.distinct(300, 2**30, (seed, step, 5), wanted.device), wanted)
    wide = torch.zeros(2**31 // 2**20, dtype=torch.int64), torch.empty(0, dtype=torch.int32)
    wanted = native.sample_absent(*wide, 2**31 - 1, None, 300, seed, step, 5)
    size = (wide[0].numel() - 1) * (2**31 - 1)
    assert torch.equal(_topology_cuda.subset(300, size, (seed, step, 5), wanted.device), wanted)


def test_more_links_than_a_block_adds_up(gpu):
    rewire(gpu, random_pattern(90, 100, 4500).links, 0.5, RandomKey(1))


@settings(max_examples=10)
@given(pattern=patterns(), share=st.floats(0, 1), seed=st.integers(0, 2**40))
def test_any_structure(gpu, pattern, share, seed):
    rewire(gpu, pattern.links, share, RandomKey(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0, 1, 300])
def test_selection(gpu, dtype, size):
    """Whole numbers have many equals, -0 and 0 among them; the first of these are chosen."""
    for scores in (torch.randn(size, dtype=dtype), -integers(size, dtype=dtype)):
        for count in {0, 1, size // 3, size, 2 * size}:
            for above in (torch.nan, -1.0, 0.0):
                for negate in (False, True):
                    check(gpu, "smallest", scores, count, above, negate)
        for share in (0.0, 0.3, 1.0):
            check(gpu, "nearest_zero", scores, share)


def scan(gpu, block, links, first_row, above):
    """Bit by bit, NaN among them."""
    found, wanted = (
        operations.scan_absent(block, *links, first_row, above) for operations in (gpu, native)
    )
    integer = torch.int32 if block.dtype == torch.float32 else torch.int64
    assert torch.equal(found[0].view(integer), wanted[0].view(integer))
    assert torch.equal(found[1], wanted[1])


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_entries_at_absent_cells(gpu, name, dtype):
    links, shape = PATTERNS[name].links, PATTERNS[name].shape
    for block in (torch.randn(shape, dtype=dtype), integers(*shape, dtype=dtype)):
        for above in (-1.0, 0.0, 1.0, torch.inf):
            scan(gpu, block, links, 0, above)
            scan(gpu, block[shape[0] // 3 :], links, shape[0] // 3, above)
    scan(gpu, block[:0], links, 0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_numbers_at_absent_cells(gpu, dtype):
    tiny = torch.finfo(dtype).smallest_normal / 4
    numbers = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, -torch.nan, tiny, -tiny]
    block = torch.tensor([numbers], dtype=dtype)
    for above in (-1.0, 0.0, 1.0, torch.inf):
        scan(gpu, block, random_pattern(1, 8, 0).links, 0, above)


def test_the_largest_absent_entries_in_a_stream_of_blocks(gpu):
    """RigL's growth, as Gradient does it, is that of the whole matrix: of equals the first."""
    pattern = random_pattern(40, 120, 900)
    dense, best = integers(40, 120, dtype=torch.float32, most=9), torch.empty(0)
    cells, bound = torch.empty(0, dtype=torch.int64), -1.0
    for first in range(0, 40, 7):
        block = dense[first : first + 7]
        magnitudes, found = gpu.scan_absent(block, *pattern.links, first, bound)
        best, cells = torch.cat([best, magnitudes]), torch.cat([cells, found])
        chosen = gpu.smallest(best, 50, torch.nan, True)
        best, cells = best[chosen], cells[chosen]
        bound = float(best.min())
    dense.flatten()[pattern.links.positions()] = 0
    order = dense.abs().flatten().argsort(descending=True, stable=True)
    assert torch.equal(cells, order[:50].sort().values)


def test_what_is_wrong_is_found(gpu):
    links, nan = PATTERNS["ordinary"].links, torch.randn(500)
    nan[100] = torch.nan
    keep = torch.ones(links.nnz, dtype=torch.bool)
    with pytest.raises(ValueError, match="found NaN at link 100"):
        gpu.smallest(nan, 3, torch.nan, False)
    with pytest.raises(ValueError, match="found NaN at link 100"):
        gpu.nearest_zero(nan, 0.5)
    with pytest.raises(ValueError, match="found an existing link at row"):
        gpu.rewire(*links, keep, links.positions()[5:6])
    with pytest.raises(ValueError, match=r"strictly increasing in \[0, 7000\), found 4"):
        gpu.rewire(*links, ~keep, torch.tensor([3, 9, 4]))
    with pytest.raises(ValueError, match=r"expected rows in \[0, 70\), found 2 from 69 on"):
        gpu.scan_absent(torch.randn(2, 100), *links, 69, 0.0)
    with pytest.raises(ValueError, match=r"expected slots in \[-1, 9\), found 9"):
        gpu.carry(torch.randn(3), torch.tensor([0, -1, 9], dtype=torch.int32), 9)
    col = links.col.clone()
    col[12] = 700
    with pytest.raises(ValueError, match=r"in \[0, 100\), found 700 at position 12"):
        gpu.check_csr(links.crow, col, 100)


def test_carry_in_place(gpu):
    entries, slots = torch.randn(3), torch.tensor([2, -1, 0], dtype=torch.int32)
    moved = entries.clone()
    if gpu.carry_(moved, slots) is None:  # a copy of it, on a real GPU
        native.carry_(entries, slots)
        assert torch.equal(moved, entries)
