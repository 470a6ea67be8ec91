"""Patterns, sampling, selection, rewiring and carrying."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine import ops
from sparse_engine.ops import Links, Pattern, RandomKey
from sparse_engine.testing import awkward_patterns, random_pattern

PATTERNS = awkward_patterns()


@pytest.mark.parametrize("name", PATTERNS)
def test_transpose(name):
    pattern = PATTERNS[name]
    numbers = torch.arange(1, pattern.nnz + 1, dtype=torch.float64)
    mirrored = Pattern(pattern.t_crow, pattern.t_col, *pattern[:2], pattern.permutation)
    turned = mirrored.dense(numbers[pattern.permutation.long()])
    assert torch.equal(turned, pattern.dense(numbers).T)


@pytest.mark.parametrize(
    ("crow", "col", "message"),
    [
        ([0, 1], [0], r"expected crow_indices of shape \[4\], found \[2\]"),
        ([1, 1, 1, 1], [0], "expected crow_indices to start at 0, found 1"),
        ([0, 2, 1, 2], [0, 1], "non-decreasing .* found 1 after 2 at position 2"),
        ([0, 1, 1, 5], [0, 1], "found 5 after 1 at position 3"),
        ([0, 1, 1, 1], [0, 1], "expected crow_indices to end at the number of links 2, found 1"),
        ([0, 1, 1, 2], [0, 9], r"expected col_indices in \[0, 5\), found 9 at position 1"),
        ([0, 1, 1, 2], [-1, 0], r"found -1 at position 0"),
        ([0, 2, 2, 2], [3, 1], "increasing within row 0, found 1 after 3 at position 1"),
        ([0, 2, 2, 2], [3, 3], r"found 3 after 3 at position 1 \(a duplicate link\)"),
        ([0, 1, 1, 1], [2**31], "expected col_indices of at most 2147483647, found 2147483648"),
        (
            [0.0, 1.0, 1.0, 1.0],
            [0],
            "expected crow_indices of an integer dtype, found torch.float32",
        ),
    ],
)
def test_wrong_patterns_are_named(crow, col, message):
    with pytest.raises(ValueError, match=message):
        Pattern.from_csr(torch.tensor(crow), torch.tensor(col), (3, 5))


def test_opcheck():
    pattern = PATTERNS["ordinary"]
    links = pattern.links
    native = torch.ops.sparse_engine
    torch.library.opcheck(native.check_csr.default, tuple(links))
    torch.library.opcheck(native.transpose.default, tuple(links))
    torch.library.opcheck(native.sample_absent.default, (*links, 50, 1, 2, 3))
    torch.library.opcheck(native.smallest.default, (torch.randn(50), 10, 0.0))
    slot_map = torch.arange(800, dtype=torch.int32)
    torch.library.opcheck(native.carry.default, (torch.randn(800), slot_map, 800))
    schema_only = {"test_utils": ("test_schema",)}  # the result's size depends on the data
    nothing = torch.empty(0, dtype=torch.int64)
    keep = torch.rand(800) < 0.5
    torch.library.opcheck(native.rewire.default, (*links, keep, nothing), **schema_only)


@given(data=st.data())
def test_samples_are_distinct_absent_and_sorted(data):
    rows, cols = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    pattern = random_pattern(
        rows, cols, data.draw(st.integers(0, rows * cols)), seed=data.draw(st.integers(0, 999))
    )
    links = pattern.links
    count = data.draw(st.integers(0, links.absent))
    cells = ops.sample_absent(links, count, RandomKey(data.draw(st.integers(-(2**62), 2**62))))
    assert cells.shape == (count,)
    assert (cells.diff() > 0).all()
    assert not torch.isin(cells, links.cells()).any()
    assert ((cells >= 0) & (cells < rows * cols)).all()


def chi_square(counts):
    expected = counts.double().mean()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("count", [1, 7, 29])
def test_samples_are_uniform(count):
    links = random_pattern(7, 8, 20, seed=5).links
    absent = torch.ones(56, dtype=torch.bool)
    absent[links.cells()] = False
    trials = 6000
    hits, pairs = torch.zeros(56), torch.zeros(56, 56)
    for seed in range(trials):
        chosen = torch.zeros(56)
        chosen[ops.sample_absent(links, count, RandomKey(seed, 3, 1))] = 1
        hits += chosen
        # Of a large sample the cells that are left out are the telling ones.
        few = chosen if count <= 18 else absent.float() - chosen
        pairs += torch.outer(few, few)
    assert hits[~absent].sum() == 0
    # 36 cells: a sum of 35 squares, scaled for drawing without replacement; 99.99 % below 78.
    assert chi_square(hits[absent]) / (1 - count / 36) < 78
    if count > 1:
        # 630 pairs: mean 629, and below 770 in 99.99 % of cases.
        together = pairs[absent][:, absent][tuple(torch.triu_indices(36, 36, 1))]
        assert chi_square(together) < 770


def test_streams_differ_in_every_part_of_the_key():
    links = Links(torch.zeros(101, dtype=torch.int64), torch.empty(0, dtype=torch.int32), 100)
    keys = [RandomKey(1, 2, 3), RandomKey(2, 2, 3), RandomKey(1, 3, 3), RandomKey(1, 2, 4)]
    samples = [tuple(ops.sample_absent(links, 50, key).tolist()) for key in keys]
    assert len(set(samples)) == 4
    assert torch.equal(ops.sample_absent(links, 50, keys[0]), ops.sample_absent(links, 50, keys[0]))


def test_too_many_samples():
    links = PATTERNS["ordinary"].links
    with pytest.raises(ValueError, match="between 0 and 6200 absent cells, found 6201"):
        ops.sample_absent(links, 6201, RandomKey(0))
    assert ops.sample_absent(links, 6200, RandomKey(0)).numel() == 6200


@given(data=st.data())
def test_smallest_equals_a_stable_sort(data):
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    n = data.draw(st.integers(0, 300))
    scores = torch.randint(-4, 5, (n,)).to(dtype) * data.draw(st.sampled_from([1.0, 1e-30, 1e30]))
    scores[torch.rand(n) < 0.1] = -0.0
    scores[torch.rand(n) < 0.05] = torch.inf
    scores[torch.rand(n) < 0.05] = -torch.inf
    count = data.draw(st.integers(0, n + 3))
    above = data.draw(st.sampled_from([-torch.inf, 0.0, 1.0, torch.inf]))
    assert torch.equal(
        ops.smallest(scores, count, above=above), ops.smallest_ref(scores, count, above=above)
    )


def test_smallest_refuses_nan():
    scores = torch.randn(10)
    scores[4] = torch.nan
    with pytest.raises(ValueError, match="can be ordered, found NaN at link 4"):
        ops.smallest(scores, 2)


@given(data=st.data())
def test_rewire(data):
    rows, cols = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    nnz = data.draw(st.integers(0, rows * cols))
    links = random_pattern(rows, cols, nnz, seed=data.draw(st.integers(0, 999))).links
    keep = torch.rand(nnz) < data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    present = torch.zeros(rows * cols, dtype=torch.bool)
    present[links.cells()[keep]] = True
    absent = (~present).nonzero().squeeze(1)
    cells = absent[torch.randperm(absent.numel())[: data.draw(st.integers(0, absent.numel()))]]
    cells = cells.sort().values
    rewired = ops.rewire(links, keep, cells)
    present[cells] = True
    assert torch.equal(rewired.links.cells(), present.nonzero().squeeze(1))
    assert torch.equal(rewired.links.cells()[rewired.born.long()], cells)
    kept_slots = rewired.slot_map[keep].long()
    assert torch.equal(rewired.links.cells()[kept_slots], links.cells()[keep])
    assert (rewired.slot_map[~keep] == -1).all()


def test_rewire_refuses_wrong_cells():
    links = PATTERNS["ordinary"].links
    keep = torch.ones(800, dtype=torch.bool)
    existing = links.cells()[3:4]
    with pytest.raises(ValueError, match=r"absent, found an existing link at row \d+, column \d+"):
        ops.rewire(links, keep, existing)
    with pytest.raises(ValueError, match=r"strictly increasing in \[0, 7000\), found 7000"):
        ops.rewire(links, keep, torch.tensor([7000]))
    with pytest.raises(ValueError, match="found 5 at position 1"):
        ops.rewire(links, keep, torch.tensor([5, 5]))
    with pytest.raises(ValueError, match=r"expected keep of shape \[800\], found \[3\]"):
        ops.rewire(links, keep[:3], existing)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.int8, torch.bfloat16, torch.int32, torch.float32, torch.float64]
)
def test_carry(dtype):
    keep = torch.rand(500) < 0.7
    slots = torch.randperm(600)[: int(keep.sum())].sort().values
    slot_map = torch.full((500,), -1, dtype=torch.int32)
    slot_map[keep] = slots.int()
    tensor = torch.randint(0, 2, (500,)).to(dtype)
    assert torch.equal(ops.carry(tensor, slot_map, 600), ops.carry_ref(tensor, slot_map, 600))
    with pytest.raises(ValueError, match=r"expected slots in \[-1, 10\)"):
        ops.carry(tensor, slot_map, 10)
