"""The same number of new links in each gate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.testing import pattern_of
from sparse_engine.topology import Dynamic, EqualPerGate, Magnitude
from sparse_engine.topology.apportion import apportion


def grown(pattern: Pattern, blocks: list[int], count: int, key: RandomKey) -> torch.Tensor:
    weight = SparseWeight(torch.ones(pattern.nnz), pattern)
    weight.blocks = blocks
    return EqualPerGate().grow(weight, pattern.links, count, key)


def per_gate(entries, blocks):
    """The sum of the entries of each gate's cells, ``[rows, cols]``."""
    return [int(block.sum()) for block in entries.split(blocks)]


# How many cells without links four gates of two rows have, and how many of them grow links.
@pytest.mark.parametrize(
    ("count", "rooms", "shares"),
    [
        (12, [9, 9, 9, 9], [3, 3, 3, 3]),
        (14, [9, 9, 9, 9], [4, 4, 3, 3]),
        (14, [9, 0, 9, 9], [5, 0, 5, 4]),
        (14, [9, 1, 9, 9], [5, 1, 4, 4]),
        (28, [9, 1, 9, 9], [9, 1, 9, 9]),
        (0, [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_remainders_go_to_the_first_gates_and_overflow_to_the_others(count, rooms, shares):
    taken = torch.stack([torch.arange(10) >= room for room in rooms]).view(8, 5)
    cells = grown(pattern_of(taken), [2] * 4, count, RandomKey(0))
    assert per_gate(torch.bincount(cells, minlength=40).view(8, 5), [2] * 4) == shares


def test_gates_of_fewer_rows_get_fewer():
    """As the masters of an ON-LSTM, which would else fill up first."""
    blocks, cols = [2, 2, 20, 20, 20, 20], 30
    cells = grown(pattern_of(torch.zeros(84, cols, dtype=torch.bool)), blocks, 420, RandomKey(0))
    found = torch.bincount(cells, minlength=84 * cols).view(84, cols)
    assert per_gate(found, blocks) == [10, 10, 100, 100, 100, 100]


@given(
    blocks=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    cols=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.3, 0.98, 1.0]),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_any_structure(blocks, cols, density, share, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(sum(blocks), cols, generator=generator) < density
    mask[: blocks[0] // 2] = True
    pattern = pattern_of(mask)
    count = int(share * pattern.links.absent)
    cells = grown(pattern, blocks, count, RandomKey(seed))
    assert cells.dtype == torch.int64 and cells.shape == (count,)
    assert (cells.diff() > 0).all()
    assert not mask.flatten()[cells].any()
    found = torch.bincount(cells, minlength=mask.numel()).view(mask.shape)
    assert per_gate(found, blocks) == apportion(count, blocks, per_gate(~mask, blocks))


def test_growth_is_uniform_within_a_gate_and_gates_are_independent():
    pattern = pattern_of(torch.tensor([[True, False, False, False]] * 4))
    hits, pairs = torch.zeros(16), torch.zeros(3, 3)
    draws = 3000
    for step in range(draws):
        cells = grown(pattern, [1] * 4, 4, RandomKey(1, step))
        assert cells.div(4, rounding_mode="floor").tolist() == [0, 1, 2, 3]
        hits[cells] += 1
        pairs[int(cells[0]) % 4 - 1, int(cells[1]) % 4 - 1] += 1
    expected = draws / 3
    deviation = ((hits[hits > 0] - expected) ** 2 / expected).sum()
    # Chi-square of 8 degrees of freedom, for 4 x 2 and for all 3 x 3 pairs: 99.99 % below 32.
    assert int((hits > 0).sum()) == 12 and deviation < 32
    assert ((pairs - draws / 9) ** 2 / (draws / 9)).sum() < 32


def test_a_key_determines_everything():
    pattern = pattern_of(torch.rand(8, 50) < 0.2)
    cells = grown(pattern, [2] * 4, 40, RandomKey(1, 2, 3))
    assert torch.equal(cells, grown(pattern, [2] * 4, 40, RandomKey(1, 2, 3)))
    for key in (RandomKey(0, 2, 3), RandomKey(1, 0, 3), RandomKey(1, 2, 0)):
        assert not torch.equal(cells, grown(pattern, [2] * 4, 40, key))


def test_cell_gate_redistribution_moves_links_to_the_gates_of_large_values(weight_of):
    weight = weight_of(torch.ones(80), 16, 20)
    weight.blocks = [4] * 4
    gate = weight.rows() // 4
    with torch.no_grad():
        weight.values[gate == 2] = 0.01
    before = torch.bincount(gate, minlength=4)
    removed = int(before[2])
    rule = Dynamic(
        weight, None, prune=Magnitude(), grow=EqualPerGate(), fraction=removed / 80, every=1
    )
    rule.step()
    after = torch.bincount(weight.rows() // 4, minlength=4)
    quarter = torch.tensor(apportion(removed, [1] * 4))
    assert torch.equal(after, before - torch.tensor([0, 0, removed, 0]) + quarter)


def test_too_many_links_are_refused():
    with pytest.raises(ValueError, match="at most 18 links, found 19"):
        grown(pattern_of(torch.zeros(6, 3, dtype=torch.bool)), [2] * 3, 19, RandomKey(0))
