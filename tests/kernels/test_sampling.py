"""Sampling of absent cells: distinct, uniform, the same numbers everywhere; and keys of them."""

import itertools
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from testing import patterns, random_pattern

from sparse_engine.ops import Links, RandomKey, Use, topology

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
