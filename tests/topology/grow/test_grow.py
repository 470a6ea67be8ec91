"""Growth at random and by gradient: distributions, and the dense gradient's choice."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import assert_valid, integers, pattern_of, patterns, random_pattern

from sparse_engine.nn import SparseLinear, SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.ops.topology import Predicted, ch2_l3n, ch3_l3, rewire, sample_absent
from sparse_engine.topology import (
    SET,
    GradientGrowth,
    Magnitude,
    NormalInit,
    RandomGrowth,
    Rewiring,
)
from sparse_engine.topology import grow as module
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.grow import (
    CH3L3,
    CandidateGradientGrowth,
    CH2L3n,
    EqualPerGate,
    LinkPrediction,
    MomentumGrowth,
    NeverUsed,
)


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


def literal(kept, dense, count):
    """Every absent position, by magnitude and then in order."""
    dense = dense.clone().flatten().abs()
    dense[kept.positions()] = -1
    order = sorted(range(dense.numel()), key=lambda position: (-float(dense[position]), position))
    return sorted(order[:count])


def noted(pattern, *steps):
    weight = SparseWeight(torch.randn(pattern.nnz, dtype=torch.float64), pattern)
    weight.captured = [list(pairs) for pairs in steps]
    return weight


def pair(pattern, n, draw=torch.randn):
    out_features, in_features = pattern.shape
    return (
        draw(n, out_features, dtype=torch.float64),
        draw(n, in_features, dtype=torch.float64),
    )


@given(pattern=patterns(), ties=st.booleans(), share=st.floats(0, 1), uses=st.integers(1, 3))
def test_the_dense_top_k(pattern, ties, share, uses):
    draw = integers if ties else torch.randn
    pairs = [pair(pattern, n + 1, draw) for n in range(uses)]
    weight = noted(pattern, pairs)
    dense = sum(dy.T @ x for dy, x in pairs)
    count = int(share * pattern.links.absent)
    positions = GradientGrowth().grow(weight, pattern.links, count, RandomKey(0))
    assert positions.tolist() == literal(pattern.links, dense, count)


@pytest.mark.parametrize("block", [1, 37, 1000])
def test_any_block(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    pattern = random_pattern(20, 30, 100)
    factors = pair(pattern, 8)
    positions = GradientGrowth().grow(noted(pattern, [factors]), pattern.links, 77, RandomKey(0))
    assert positions.tolist() == literal(pattern.links, factors[0].T @ factors[1], 77)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_momentum_decays_by_the_step(beta):
    pattern = random_pattern(20, 30, 100)
    steps = [[pair(pattern, 4)], [pair(pattern, 4), pair(pattern, 2)], [pair(pattern, 4)]]
    dense = torch.zeros(20, 30, dtype=torch.float64)
    for pairs in steps:
        dense = beta * dense + sum(dy.T @ x for dy, x in pairs)
    rule = MomentumGrowth(window=3, beta=beta)
    positions = rule.grow(noted(pattern, *steps), pattern.links, 50, RandomKey(0))
    assert positions.tolist() == literal(pattern.links, dense, 50)


def test_candidates_of_largest_gradient():
    pattern, key = random_pattern(20, 30, 100), RandomKey(3, 4, 5)
    dy, x = pair(pattern, 8)
    rule = CandidateGradientGrowth(2.0)
    weight = noted(pattern, [(dy, x)])
    candidates = rule.grow(weight, pattern.links, 200, key).tolist()
    chosen = rule.grow(weight, pattern.links, 40, key).tolist()
    dense = (dy.T @ x).abs().flatten()
    best = sorted(candidates, key=lambda position: (-float(dense[position]), position))[:40]
    assert chosen == sorted(best)


# Nine times as many candidates are all absent positions.
@pytest.mark.parametrize(
    "rule", [GradientGrowth(), CandidateGradientGrowth(9.0), MomentumGrowth(window=1)]
)
def test_nothing_noted_and_nan_are_named(rule):
    pattern = random_pattern(5, 6, 10)
    with pytest.raises(ValueError, match="expected a backward pass"):
        rule.grow(noted(pattern), pattern.links, 3, RandomKey(0))
    dy, x = pair(pattern, 2)
    dy[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        rule.grow(noted(pattern, [(dy, x)]), pattern.links, 3, RandomKey(0))


@pytest.mark.parametrize("window", [1, 2])
def test_the_choice_is_that_of_the_dense_gradients_since_the_last_rewiring(window):
    layer = SparseLinear(9, 8, bias=False, density=0.2, dtype=torch.float64)
    grow = GradientGrowth() if window == 1 else MomentumGrowth(window=window, beta=0.5)
    rule = Rewiring(layer, None, prune=Magnitude(), grow=grow, fraction=0.5, every=window)
    for _ in range(3):
        expected = torch.zeros(8, 9, dtype=torch.float64)
        for _ in range(window):
            x = torch.randn(7, 9, dtype=torch.float64)
            layer(x).square().sum().backward()
            dense = layer.to_dense()
            dense(x).square().sum().backward()
            expected = 0.5 * expected + dense.weight.grad
            kept, count = survivors(layer.weight)
            rule.step()
        grown_of_gradient = {*layer.weight.pattern.links.positions().tolist()} - {
            *kept.positions().tolist()
        }
        assert sorted(grown_of_gradient) == literal(kept, expected, count)


def survivors(weight):
    """The links that remain where half of them go, and how many go."""
    dropped = Magnitude().drop(weight, 0.5, RandomKey(0))
    kept = rewire(weight.pattern.links, ~dropped, torch.empty(0, dtype=torch.int64)).links
    return kept, int(dropped.sum())


def test_a_count_beyond_the_candidates_is_met():
    pattern = random_pattern(20, 30, 100)
    weight = noted(pattern, [pair(pattern, 8)])
    assert CandidateGradientGrowth(0.1).grow(weight, pattern.links, 60, RandomKey(0)).numel() == 60


SCORES = {CH3L3(): ch3_l3, CH2L3n(): ch2_l3n}
RULES = [*SCORES, CH3L3(soft=True), CH2L3n(soft=True)]
KEY = RandomKey(4, 5, 6)
each_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def grown_of_gradient(rule, pattern, count, key=KEY):
    return rule.grow(SparseWeight(torch.ones(pattern.nnz), pattern), pattern.links, count, key)


@pytest.mark.parametrize("rule", SCORES, ids=str)
def test_enough_scores_decide_alone(rule):
    pattern = random_pattern(40, 50, 300)
    assert torch.equal(
        grown_of_gradient(rule, pattern, 60), SCORES[rule](pattern.links, 60).positions
    )
    soft = replace(rule, soft=True)
    sampled = grown_of_gradient(soft, pattern, 60)
    assert torch.equal(sampled, SCORES[rule](pattern.links, 60, key=KEY).positions)
    assert not torch.equal(sampled, grown_of_gradient(soft, pattern, 60, RandomKey(5, 5, 6)))


@each_rule
@given(pattern=patterns(), share=st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_any_structure_of_gradient(rule, pattern, share):
    count = int(share * min(pattern.links.absent, 2000))
    positions = grown_of_gradient(rule, pattern, count)
    assert positions.dtype == torch.int64 and positions.shape == (count,)
    assert (positions.diff() > 0).all()
    assert not torch.isin(positions, pattern.links.positions()).any()


#: One of the 33 absent positions has a score, (1, 0).
FEW = torch.zeros(6, 6, dtype=torch.bool)
FEW[[0, 0, 1], [0, 1, 1]] = True


@each_rule
def test_uniform_cells_join_too_few_scores(rule):
    pattern = pattern_of(FEW)
    hits = torch.zeros(36)
    for step in range(400):
        hits[grown_of_gradient(rule, pattern, 9, RandomKey(0, step))] += 1
    assert hits[FEW.flatten()].sum() == 0
    assert hits[6] == 400
    others = ~FEW.flatten()
    others[6] = False
    expected = 400 * 8 / 32
    deviation = ((hits[others] - expected) ** 2 / expected).sum() / (1 - 8 / 32)
    # 32 positions, of which 8 are drawn: 99.99 % below 70.
    assert others.sum() == 32 and deviation < 70


@each_rule
def test_all_cells_or_none_and_no_more(rule):
    everything = grown_of_gradient(rule, pattern_of(FEW), 33)
    assert torch.equal(everything, (~FEW).flatten().nonzero().squeeze(1))
    assert len(grown_of_gradient(rule, pattern_of(torch.ones(3, 3) > 0), 0)) == 0
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    assert len(grown_of_gradient(rule, pattern_of(nothing), 4)) == 4
    with pytest.raises(ValueError, match="grow at most 9 links, found 10"):
        grown_of_gradient(rule, pattern_of(nothing), 10)


def test_a_score_of_ones_own():
    class Lowest(LinkPrediction):
        def predict(self, links, count, *, key=None):
            absent = torch.ones(links.absent + links.nnz, dtype=torch.bool)
            absent[links.positions()] = False
            positions = absent.nonzero().squeeze(1)[:count]
            return Predicted(positions, torch.ones(count, dtype=torch.float64))

    assert grown_of_gradient(Lowest(), pattern_of(FEW), 4).tolist() == [2, 3, 4, 5]
