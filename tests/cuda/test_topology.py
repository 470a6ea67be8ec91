"""Rewiring on the GPU against that on the CPU: the same links, the same draws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.ops._native import native
from sparse_engine.testing import awkward_patterns, hub_pattern, integers, patterns, random_pattern

PATTERNS = awkward_patterns() | {"long rows": hub_pattern(12, 900)}


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


def test_what_is_wrong_is_found(gpu):
    links, nan = PATTERNS["ordinary"].links, torch.randn(500)
    nan[100] = torch.nan
    keep = torch.ones(links.nnz, dtype=torch.bool)
    with pytest.raises(ValueError, match="found NaN at link 100"):
        gpu.smallest(nan, 3, torch.nan, False)
    with pytest.raises(ValueError, match="found NaN at link 100"):
        gpu.nearest_zero(nan, 0.5)
    with pytest.raises(ValueError, match="found an existing link at row"):
        gpu.rewire(*links, keep, links.cells()[5:6])
    with pytest.raises(ValueError, match=r"strictly increasing in \[0, 7000\), found 4"):
        gpu.rewire(*links, ~keep, torch.tensor([3, 9, 4]))
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


def test_fifty_rewirings_give_the_same_topology(gpu):
    links = {"cpu": PATTERNS["ordinary"].links, "gpu": PATTERNS["ordinary"].links}
    for step in range(50):
        for where, operations in (("cpu", native), ("gpu", gpu)):
            before = links[where]
            values = torch.sin(torch.arange(before.nnz) * 0.7 + step)
            dropped = operations.nearest_zero(values, 0.3)
            count = int(dropped.sum())
            cells = operations.sample_absent(*before, dropped, count, 5, step, 0)
            crow, col, *_ = operations.rewire(*before, ~dropped, cells)
            links[where] = before._replace(crow=crow, col=col)
    assert torch.equal(links["cpu"].crow, links["gpu"].crow)
    assert torch.equal(links["cpu"].col, links["gpu"].col)
    Pattern.from_csr(links["gpu"].crow, links["gpu"].col, (70, 100))
