"""Native operations of topology: sampling, selection, and scans, against literal readings."""

import itertools
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels import plain
from scipy.stats import chisquare
from testing import awkward_patterns, patterns, random_pattern, real_dtypes, refusals

from sparse_engine import ops
from sparse_engine.ops import Links, Pattern, RandomKey, Use, topology
from sparse_engine.ops.topology import scan_absent


@given(
    pattern=patterns(),
    kept=st.sampled_from([0.0, 0.5, 0.98, 1.0]),
    grown=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_rewire(pattern, kept, grown):
    links, (rows, cols) = pattern.links, pattern.shape
    keep = torch.rand(links.nnz) < kept
    present = torch.zeros(rows * cols, dtype=torch.bool)
    present[links.positions()[keep]] = True
    cells = (~present & (torch.rand(rows * cols) < grown)).nonzero().squeeze(1)
    rewired = ops.topology.rewire(links, keep, cells)
    present[cells] = True
    assert torch.equal(rewired.links.positions(), present.nonzero().squeeze(1))
    Pattern.from_csr(rewired.links.crow, rewired.links.col, (rows, cols))
    assert torch.equal(rewired.links.positions()[rewired.born.long()], cells)
    moved = rewired.slot_map[keep].long()
    assert torch.equal(rewired.links.positions()[moved], links.positions()[keep])
    assert (rewired.slot_map[~keep] == -1).all()


LINKS = random_pattern(70, 100, 800).links
ALL = torch.ones(800, dtype=torch.bool)
CELLS = LINKS.positions()


def rewired(keep, cells):
    return lambda: ops.topology.rewire(LINKS, keep, cells)


EXISTING = "absent, found an existing link at row {}, column {}$"
test_rewire_refuses_what_does_not_fit = refusals(
    *(
        (EXISTING.format(*divmod(int(CELLS[at]), 100)), rewired(ALL, CELLS[at : at + 1]))
        for at in (3, 100, 799)
    ),
    (r"increasing in \[0, 7000\), found 7000 at position 0", rewired(ALL, torch.tensor([7000]))),
    ("found -1 at position 0", rewired(ALL, torch.tensor([-1]))),
    ("found 5 at position 1", rewired(ALL, torch.tensor([5, 5]))),
    ("found 5 at position 1", rewired(ALL, torch.tensor([6, 5]))),
    ("cells of dtype int64, found int32", rewired(ALL, torch.tensor([5], dtype=torch.int32))),
    (r"cells of shape \[1\], found \[1, 1\]", rewired(ALL, torch.tensor([[5]]))),
    (r"keep of shape \[800\], found \[3\]", rewired(ALL[:3], CELLS[:0])),
    ("keep of dtype bool, found int32", rewired(ALL.int(), CELLS[:0])),
)


DTYPES = [
    *(torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
]


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_carry(data, dtype):
    nnz = data.draw(st.integers(0, 200))
    keep = torch.rand(nnz) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    size = data.draw(st.sampled_from([nnz, int(keep.sum()), nnz + 7]))
    slot_map = torch.full((nnz,), -1, dtype=torch.int32)
    slot_map[keep] = torch.randperm(size)[: int(keep.sum())].sort().values.int()
    tensor = torch.randint(0, 100, (nnz,)).to(dtype)
    carried = ops.topology.carry(tensor, slot_map, size)
    assert carried.dtype == dtype
    assert torch.equal(carried, plain.carry(tensor, slot_map, size))
    if size == nnz:
        assert ops.topology.carry_(tensor, slot_map) is tensor
        assert torch.equal(tensor, carried)


def test_carry_moves_bits_as_they_are():
    tensor = torch.tensor([torch.nan, -0.0, torch.inf, 1e-44, 5.0])
    slot_map = torch.tensor([1, 2, 4, 5, -1], dtype=torch.int32)
    carried = ops.topology.carry(tensor, slot_map, 6)
    bits = carried.view(torch.int32)
    assert torch.equal(bits[[1, 2, 4, 5]], tensor.view(torch.int32)[:4])
    assert torch.equal(bits[[0, 3]], torch.zeros(2, dtype=torch.int32))


def carried(tensor, last):
    slots = torch.tensor([0, 1, last], dtype=torch.int32)
    return lambda: ops.topology.carry(tensor, slots, 9)


test_carry_refuses_what_does_not_fit = refusals(
    (r"expected slots in \[-1, 9\), found 9", carried(torch.ones(3), 9)),
    (r"expected slots in \[-1, 9\), found -2", carried(torch.ones(3), -2)),
    (r"expected tensor of shape \[3\], found \[4\]", carried(torch.ones(4), 2)),
    (r"expected tensor of shape \[3\], found \[3, 1\]", carried(torch.ones(3, 1), 2)),
    ("of 1, 2, 4 or 8 bytes, found 16", carried(torch.ones(3).to(torch.complex128), 2)),
)

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

LOW = 2**32 - 1


def philox(counter, key):
    """Philox4x32-10 word for word from its publication (Salmon et al. 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & LOW, first >> 32 ^ c[3] ^ k[1], first & LOW]
        k = [(k[0] + 0x9E3779B9) & LOW, (k[1] + 0xBB67AE85) & LOW]
    return c


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([LOW] * 4, [LOW] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_the_reference_gives_the_published_vectors(counter, key, words):
    assert philox(counter, key) == words


def draws(key, below):
    """The sequence of numbers below a bound that belongs to a key."""
    seed = key.seed % 2**64
    for counter in itertools.count():
        words = philox(
            [counter & LOW, counter >> 32, key.step, key.stream], [seed & LOW, seed >> 32]
        )
        for low, high in (words[:2], words[2:]):
            yield (low | high << 32) * below >> 64


def literal_sample(links, count, key):
    """The first distinct draws, as ranks among the absent cells; or those that are left out."""
    some = min(count, links.absent - count) if count > links.absent // 2 else count
    chosen, numbers = set(), draws(key, links.absent)
    while len(chosen) < some:
        chosen.add(next(numbers))
    if some != count:
        chosen = set(range(links.absent)) - chosen
    present = set(links.positions().tolist())
    absent = [cell for cell in range(links.absent + links.nnz) if cell not in present]
    return [absent[rank] for rank in sorted(chosen)]


KEYS = st.builds(
    RandomKey, st.integers(-(2**63), 2**63 - 1), st.integers(0, LOW), st.integers(0, LOW)
)


@given(pattern=patterns(), share=st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.7, 1.0]), key=KEYS)
def test_equals_the_literal_reading(pattern, share, key):
    links = pattern.links
    count = round(share * links.absent)
    assert topology.sample_absent(links, count, key).tolist() == literal_sample(links, count, key)


def test_all_bits_of_a_draw_count():
    rows, cols = 2**20, 2**31 - 1
    empty = Links(torch.zeros(rows + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int32), cols)
    for key in (RandomKey(0), RandomKey(-1, LOW, LOW), RandomKey(2**62 + 1, 5, 7)):
        expected = sorted(itertools.islice(draws(key, rows * cols), 5))
        assert topology.sample_absent(empty, 5, key).tolist() == expected


def test_cells_and_pairs_of_cells_are_uniform():
    links = random_pattern(7, 8, 20, seed=5).links
    absent = torch.ones(56, dtype=torch.bool)
    absent[links.positions()] = False
    samples = [topology.sample_absent(links, 7, RandomKey(seed, 3, 1)) for seed in range(1000)]
    chosen = torch.zeros(1000, 56).scatter_(1, torch.stack(samples), 1)
    assert not chosen[:, ~absent].any()
    # 36 cells: a sum of 35 squares, scaled for drawing without replacement; 99.99 % below 78.
    assert chisquare(chosen[:, absent].sum(0)).statistic / (1 - 7 / 36) < 78
    # 630 pairs: mean 629, and below 770 in 99.99 % of cases.
    pairs = (chosen.T @ chosen)[absent][:, absent][tuple(torch.triu_indices(36, 36, 1))]
    assert chisquare(pairs).statistic < 770


def test_counts_that_do_not_fit():
    links = random_pattern(70, 100, 800).links
    for count in (-1, 6201):
        message = f"between 0 and 6200 absent cells, found {count}"
        with pytest.raises(ValueError, match=message):
            topology.sample_absent(links, count, RandomKey(0))
    everything = torch.cat([topology.sample_absent(links, 6200, RandomKey(0)), links.positions()])
    assert torch.equal(everything.sort().values, torch.arange(7000))


@given(pattern=patterns(), gone=st.sampled_from([0.0, 0.3, 1.0]), share=st.floats(0, 1))
def test_dropped_links_count_as_absent(pattern, gone, share):
    links, key = pattern.links, RandomKey(1, 2, 3)
    dropped = torch.rand(links.nnz) < gone
    kept = topology.rewire(links, ~dropped, torch.empty(0, dtype=torch.int64)).links
    count = int(share * kept.absent)
    expected = topology.sample_absent(kept, count, key)
    assert torch.equal(topology.sample_absent(links, count, key, dropped=dropped), expected)


EDGES = (0, 1, 2, 2**31, 2**32 - 1)
SEEDS = (*EDGES, 2**32, 2**32 + 1, 2**61 - 2, 2**61 - 1, 2**61, 2**63 - 1, -1, -2, -(2**63))
SOME_KEYS = [RandomKey(*parts) for parts in product(SEEDS, EDGES, EDGES)]


def test_other_keys_give_other_numbers():
    drawn = {
        tuple(key.generator(use).random(2)) for key in SOME_KEYS for use in (0, 1, 9, 2**32 - 1)
    }
    assert len(drawn) == 4 * len(SOME_KEYS)
    drawn = {tuple(torch.rand(2, generator=key.torch_generator(0)).tolist()) for key in SOME_KEYS}
    assert len(drawn) == len(SOME_KEYS)


def test_no_word_of_a_seed_is_taken_for_a_step():
    one, other = RandomKey(1, 5, 7), RandomKey(1 + 5 * 2**32, 7, 0)
    assert one.generator(0).random() != other.generator(0).random()


def test_equal_keys_give_these_numbers_anywhere():
    generator = RandomKey(2**61 - 1, 3, 4).generator(Use.NEW_LINKS)
    assert generator.integers(2**63, size=2).tolist() == [5775720280272188915, 5205102232360663834]
    assert isinstance(generator.bit_generator, np.random.Philox)
