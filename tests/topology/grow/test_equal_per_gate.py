"""The same number of new links in each gate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.testing import pattern_of
from sparse_engine.topology import Dynamic, EqualPerGate, Magnitude
from sparse_engine.topology.grow.equal_per_gate import _spread


def grown(pattern: Pattern, gates: int, count: int, key: RandomKey) -> torch.Tensor:
    weight = SparseWeight(torch.ones(pattern.nnz), pattern)
    return EqualPerGate(gates).grow(weight, pattern.links, count, key)


def per_gate(cells, pattern, gates):
    rows, cols = pattern.shape
    return torch.bincount(cells // (rows // gates * cols), minlength=gates).tolist()


def one_by_one(count, rooms):
    """Links handed out in rounds, one to each gate in turn that has room."""
    shares = [0] * len(rooms)
    while count:
        for gate, room in enumerate(rooms):
            if count and shares[gate] < room:
                shares[gate] += 1
                count -= 1
    return shares


@given(rooms=st.lists(st.integers(0, 12), min_size=1, max_size=6), data=st.data())
def test_the_shares_are_as_equal_as_there_is_room(rooms, data):
    count = data.draw(st.integers(0, sum(rooms)))
    shares = _spread(count, rooms)
    assert sum(shares) == count
    assert all(0 <= share <= room for share, room in zip(shares, rooms, strict=True))
    assert sorted(shares) == sorted(one_by_one(count, rooms))


@pytest.mark.parametrize(
    ("count", "rooms", "shares"),
    [
        (12, [9, 9, 9, 9], [3, 3, 3, 3]),
        (14, [9, 9, 9, 9], [4, 4, 3, 3]),
        (14, [9, 0, 9, 9], [5, 0, 5, 4]),
        (14, [9, 1, 9, 9], [5, 1, 4, 4]),
        (28, [9, 1, 9, 9], [9, 1, 9, 9]),
        (0, [0, 0], [0, 0]),
    ],
)
def test_remainders_go_to_the_first_gates_and_overflow_to_the_others(count, rooms, shares):
    assert _spread(count, rooms) == shares


@given(
    gates=st.integers(1, 5),
    height=st.integers(0, 5),
    cols=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.3, 0.98, 1.0]),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_any_structure(gates, height, cols, density, share, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(gates * height, cols, generator=generator) < density
    mask[: height // 2] = True
    pattern = pattern_of(mask)
    count = int(share * pattern.links.absent)
    cells = grown(pattern, gates, count, RandomKey(seed))
    assert cells.dtype == torch.int64 and cells.shape == (count,)
    assert (cells.diff() > 0).all()
    assert not mask.flatten()[cells].any()
    if height:
        rooms = (~mask).view(gates, -1).sum(1).tolist()
        assert per_gate(cells, pattern, gates) == _spread(count, rooms)


def test_growth_is_uniform_within_a_gate_and_gates_are_independent():
    pattern = pattern_of(torch.tensor([[True, False, False, False]] * 4))
    hits, pairs = torch.zeros(16), torch.zeros(3, 3)
    draws = 3000
    for step in range(draws):
        cells = grown(pattern, 4, 4, RandomKey(1, step))
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
    cells = grown(pattern, 4, 40, RandomKey(1, 2, 3))
    assert torch.equal(cells, grown(pattern, 4, 40, RandomKey(1, 2, 3)))
    for key in (RandomKey(0, 2, 3), RandomKey(1, 0, 3), RandomKey(1, 2, 0)):
        assert not torch.equal(cells, grown(pattern, 4, 40, key))


def test_cell_gate_redistribution_moves_links_to_the_gates_of_large_values(weight_of):
    weight = weight_of(torch.ones(80), 16, 20)
    gate = weight.rows() // 4
    with torch.no_grad():
        weight.values[gate == 2] = 0.01
    before = torch.bincount(gate, minlength=4)
    removed = int(before[2])
    rule = Dynamic(
        weight, None, prune=Magnitude(), grow=EqualPerGate(4), fraction=removed / 80, every=1
    )
    rule.step()
    after = torch.bincount(weight.rows() // 4, minlength=4)
    quarter = torch.tensor(_spread(removed, [80] * 4))
    assert torch.equal(after, before - torch.tensor([0, 0, removed, 0]) + quarter)


@pytest.mark.parametrize(
    ("gates", "count", "message"),
    [(4, 1, "rows that make 4 equal gates, found 6"), (3, 19, "at most 18 links, found 19")],
)
def test_wrong_arguments_are_named(gates, count, message):
    with pytest.raises(ValueError, match=message):
        grown(pattern_of(torch.zeros(6, 3, dtype=torch.bool)), gates, count, RandomKey(0))
    with pytest.raises(ValueError, match="at least 1 gate, found 0"):
        EqualPerGate(0)
