"""Growth by link prediction: the positions of the greatest scores, and what joins them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import pattern_of, patterns, random_pattern

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.ops.topology import Predicted, ch2_l3n, ch3_l3
from sparse_engine.topology.grow import CH3L3, CH2L3n, LinkPrediction

SCORES = {CH3L3(): ch3_l3, CH2L3n(): ch2_l3n}
RULES = [*SCORES, CH3L3(soft=True), CH2L3n(soft=True)]
KEY = RandomKey(4, 5, 6)
each_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def grown(rule, pattern, count, key=KEY):
    return rule.grow(SparseWeight(torch.ones(pattern.nnz), pattern), pattern.links, count, key)


@pytest.mark.parametrize("rule", SCORES, ids=str)
def test_enough_scores_decide_alone(rule):
    pattern = random_pattern(40, 50, 300)
    assert torch.equal(grown(rule, pattern, 60), SCORES[rule](pattern.links, 60).positions)
    soft = replace(rule, soft=True)
    sampled = grown(soft, pattern, 60)
    assert torch.equal(sampled, SCORES[rule](pattern.links, 60, key=KEY).positions)
    assert not torch.equal(sampled, grown(soft, pattern, 60, RandomKey(5, 5, 6)))


@each_rule
@given(pattern=patterns(), share=st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_any_structure(rule, pattern, share):
    count = int(share * min(pattern.links.absent, 2000))
    positions = grown(rule, pattern, count)
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
        hits[grown(rule, pattern, 9, RandomKey(0, step))] += 1
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
    everything = grown(rule, pattern_of(FEW), 33)
    assert torch.equal(everything, (~FEW).flatten().nonzero().squeeze(1))
    assert len(grown(rule, pattern_of(torch.ones(3, 3) > 0), 0)) == 0
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    assert len(grown(rule, pattern_of(nothing), 4)) == 4
    with pytest.raises(ValueError, match="grow at most 9 links, found 10"):
        grown(rule, pattern_of(nothing), 10)


def test_a_score_of_ones_own():
    class Lowest(LinkPrediction):
        def predict(self, links, count, *, key=None):
            absent = torch.ones(links.absent + links.nnz, dtype=torch.bool)
            absent[links.positions()] = False
            positions = absent.nonzero().squeeze(1)[:count]
            return Predicted(positions, torch.ones(count, dtype=torch.float64))

    assert grown(Lowest(), pattern_of(FEW), 4).tolist() == [2, 3, 4, 5]
