"""Random growth: anywhere, where no link has been, and the same number in each gate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import assert_valid, pattern_of, random_pattern

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.ops.topology import sample_absent
from sparse_engine.topology import SET, Magnitude, NormalInit, RandomGrowth, Rewiring
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.grow import EqualPerGate, NeverUsed


def test_uniform_draws_from_the_kept_links_complement(weight_of):
    weight = weight_of(torch.randn(12), 5, 6)
    kept = weight_of(torch.randn(7), 5, 6, seed=1).pattern.links
    key = RandomKey(3, 4, 5)
    positions = RandomGrowth().grow(weight, kept, 9, key)
    assert torch.equal(positions, sample_absent(kept, 9, key))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_birth(dtype, weight_of):
    weight = weight_of(torch.ones(20_000, dtype=dtype), 400, 400)
    SET(weight, None, fraction=0.5, every=1, new_links=NormalInit(0.1)).step()
    values = weight.values.detach()
    born = values[values != 1].double()
    # 10,000 draws: five standard deviations of their mean and of their spread.
    assert born.numel() == 10_000
    assert born.mean().abs() < 5 * 0.1 / 100
    assert (born.std() - 0.1).abs() < 5 * 0.1 / 141


def training(seed=0):
    torch.manual_seed(seed)
    weight = SparseWeight(torch.randn(20), random_pattern(8, 10, 20))
    return weight, Rewiring(
        weight, None, prune=Magnitude(), grow=NeverUsed(), fraction=0.5, every=1
    )


def test_every_cell_is_tried_before_one_is_tried_again():
    weight, rule = training()
    ever = set(weight.pattern.links.positions().tolist())
    for turn in range(1, 12):
        before = set(weight.pattern.links.positions().tolist())
        with torch.no_grad():
            weight.values.copy_(torch.randn(20))
        kept_or_old = set(before)
        rule.step()
        grown = set(weight.pattern.links.positions().tolist()) - kept_or_old
        fresh = min(10, 80 - len(ever))
        assert len(grown - ever) == fresh
        ever |= grown
        assert len(ever) == min(80, 20 + 10 * turn)
        assert_valid(weight)


def test_a_foreign_state_is_refused():
    for state in ({"x": torch.tensor([1])}, {"0": 3}, {"0": torch.tensor([2, 1])}):
        with pytest.raises(ValueError, match="expected increasing positions"):
            NeverUsed().load_state_dict(state)


def grown(pattern: Pattern, blocks: list[int], count: int, key: RandomKey) -> torch.Tensor:
    weight = SparseWeight(torch.ones(pattern.nnz), pattern)
    weight.blocks = blocks
    return EqualPerGate().grow(weight, pattern.links, count, key)


def per_gate(entries, blocks):
    """The sum of the entries of each gate's positions, ``[rows, cols]``."""
    return [int(block.sum()) for block in entries.split(blocks)]


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
    positions = grown(pattern, blocks, count, RandomKey(seed))
    assert positions.dtype == torch.int64 and positions.shape == (count,)
    assert (positions.diff() > 0).all()
    assert not mask.flatten()[positions].any()
    found = torch.bincount(positions, minlength=mask.numel()).view(mask.shape)
    assert per_gate(found, blocks) == apportion(count, blocks, per_gate(~mask, blocks))


def test_growth_is_uniform_within_a_gate_and_gates_are_independent():
    pattern = pattern_of(torch.tensor([[True, False, False, False]] * 4))
    hits, pairs = torch.zeros(16), torch.zeros(3, 3)
    draws = 300
    for step in range(draws):
        positions = grown(pattern, [1] * 4, 4, RandomKey(1, step))
        assert positions.div(4, rounding_mode="floor").tolist() == [0, 1, 2, 3]
        hits[positions] += 1
        pairs[int(positions[0]) % 4 - 1, int(positions[1]) % 4 - 1] += 1
    expected = draws / 3
    deviation = ((hits[hits > 0] - expected) ** 2 / expected).sum()
    # Chi-square of 8 degrees of freedom, for 4 x 2 and for all 3 x 3 pairs: 99.99 % below 32.
    assert int((hits > 0).sum()) == 12 and deviation < 32
    assert ((pairs - draws / 9) ** 2 / (draws / 9)).sum() < 32


def test_too_many_links_are_refused():
    with pytest.raises(ValueError, match="at most 18 links, found 19"):
        grown(pattern_of(torch.zeros(6, 3, dtype=torch.bool)), [2] * 3, 19, RandomKey(0))


def test_the_weights_of_a_model_and_its_steps_have_streams_of_their_own(weight_of):
    model = torch.nn.ModuleList(weight_of(torch.randn(50), 20, 20) for _ in range(3))
    before = model[0].col_indices.clone()
    rule = SET(model, None, fraction=1.0, every=1)
    wirings = set()
    for _ in range(3):
        rule.step()
        wirings |= {tuple(weight.col_indices.tolist()) for weight in model}
    assert len(wirings) == 9
    assert tuple(before.tolist()) not in wirings
