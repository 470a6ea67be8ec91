"""Link prediction: the scores word for word, and the cells that they choose."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels import plain
from scipy import stats
from testing import awkward_patterns, pattern_of, random_pattern

from sparse_engine.ops import Links, Pattern, RandomKey, topology
from sparse_engine.ops._dispatch.native import native

PATTERNS = awkward_patterns()
#: More of its cells have a score than a thread hands over at once.
LARGE = random_pattern(250, 300, 2000, seed=4).links
KEY = RandomKey(1, 2, 3)


def literal_scores(mask, path_score, unit_score):
    """The score of every absent cell of a bipartite graph between which a path of length 3 runs."""
    graph = nx.Graph()
    graph.add_nodes_from(
        itertools.chain(*([(side, n) for n in range(mask.shape[side])] for side in (0, 1)))
    )
    graph.add_edges_from(((0, int(row)), (1, int(col))) for row, col in mask.nonzero())
    scores = {}
    for u, v in itertools.product(range(mask.shape[0]), range(mask.shape[1])):
        u_unit, v_unit = (0, u), (1, v)
        if graph.has_edge(u_unit, v_unit):
            continue
        paths = [
            path[1:3]
            for path in nx.all_simple_paths(graph, u_unit, v_unit, cutoff=3)
            if len(path) == 4
        ]
        community = set(itertools.chain(*paths))
        inside = {z: len(set(graph[z]) & community) for z in community}
        outside = {z: len(set(graph[z]) - community - {u_unit, v_unit}) for z in community}
        score = sum(path_score(outside[a], outside[b]) for a, b in paths)
        score += sum(unit_score(inside[z], outside[z]) for z in community)
        if paths:
            scores[u * mask.shape[1] + v] = score
    return scores


RULES = {
    "ch3_l3": (
        topology.ch3_l3,
        plain.ch3_l3,
        lambda mask: literal_scores(
            mask, lambda e1, e2: 1 / math.sqrt((1 + e1) * (1 + e2)), lambda i, e: 0
        ),
    ),
    "ch2_l3n": (
        topology.ch2_l3n,
        plain.ch2_l3n,
        lambda mask: literal_scores(mask, lambda e1, e2: 0, lambda i, e: (1 + i) / (1 + e)),
    ),
}
each_rule = pytest.mark.parametrize("name", RULES)


@st.composite
def small_masks(draw):
    rows, cols = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
    mask = torch.rand(rows, cols, generator=generator) < density
    if draw(st.booleans()):
        mask[draw(st.integers(0, rows - 1))] = True
    if draw(st.booleans()):
        mask[draw(st.integers(0, rows - 1))] = False
    return mask


@each_rule
@given(mask=small_masks())
def test_the_scores_literally(name, mask):
    predict, reference, literal = RULES[name]
    expected = literal(mask)
    links = pattern_of(mask).links
    for positions, scores in (predict(links, links.absent), reference(links)):
        assert positions.dtype == torch.int64 and scores.dtype == torch.float64
        assert positions.tolist() == [*expected]
        np.testing.assert_allclose(scores, [*expected.values()], rtol=1e-13)


@each_rule
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_equals_dense_matrices(name, pattern):
    predict, reference, _ = RULES[name]
    found = predict(pattern.links, pattern.links.absent)
    positions, scores = reference(pattern.links)
    assert torch.equal(found.positions, positions)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-12)


def best(everything, count):
    """The greatest scores, of equal ones those of the lowest cells, one by one."""
    pairs = zip(everything.scores.tolist(), everything.positions.tolist(), strict=True)
    order = sorted((-score, cell) for score, cell in pairs)[:count]
    return sorted(cell for _, cell in order)


@each_rule
@pytest.mark.parametrize("key", [None, KEY], ids=["greatest", "sampled"])
@pytest.mark.parametrize("count", [0, 1, 100, 20_000, 73_000])
def test_the_greatest_scores_are_chosen(name, key, count):
    predict, _, _ = RULES[name]
    everything = predict(LARGE, LARGE.absent, key=key)
    assert 40_000 < len(everything.positions) < 73_000 == LARGE.absent
    chosen = predict(LARGE, count, key=key)
    assert chosen.positions.tolist() == best(everything, count)
    at = torch.searchsorted(everything.positions, chosen.positions)
    assert torch.equal(chosen.scores, everything.scores[at])


def ring(size):
    """Row i has links to columns i and i + 1: all cells with a score have the same."""
    crow, first = torch.arange(0, 2 * size + 1, 2), torch.arange(size)
    col = torch.stack([first, (first + 1) % size], 1).sort(1).values.flatten()
    return Pattern.from_csr(crow, col, (size, size)).links


@each_rule
def test_of_equal_scores_the_lowest_cells_are_chosen(name, threads):
    predict, _, _ = RULES[name]
    links = ring(100_000)
    everything = predict(links, links.absent)
    assert len(everything.positions) == 200_000 and len(everything.scores.unique()) == 1
    for count in (1, 3):
        threads(count)
        assert torch.equal(predict(links, 15_000).positions, everything.positions[:15_000])


@each_rule
def test_every_cell_has_an_exponential_number_of_its_own(name):
    predict, _, _ = RULES[name]
    plain = predict(LARGE, LARGE.absent)
    waits = []
    for key in (KEY, RandomKey(0, 2, 3), RandomKey(1, 0, 3), RandomKey(1, 2, 0)):
        sampled = predict(LARGE, LARGE.absent, key=key)
        assert torch.equal(sampled.positions, plain.positions)
        waits.append((plain.scores / sampled.scores).numpy())
    for wait in waits:
        assert stats.kstest(wait, "expon").pvalue > 1e-3
        assert len(np.unique(wait)) > 0.99 * len(wait)
        assert abs(stats.pearsonr(wait[1:], wait[:-1]).statistic) < 5 / len(wait) ** 0.5
    for one, other in itertools.combinations(waits, 2):
        assert abs(stats.pearsonr(one, other).statistic) < 5 / len(one) ** 0.5


def test_the_numbers_are_not_those_of_sample_absent():
    """Positions beside the predicted ones are drawn with the same key."""
    sampled, plain = (topology.ch3_l3(LARGE, LARGE.absent, key=key).scores for key in (KEY, None))
    ours = torch.exp(-plain / sampled)
    rows, cols = 2**20, 2**31 - 1
    empty = Links(torch.zeros(rows + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int32), cols)
    theirs = topology.sample_absent(empty, 20_000, KEY) / (rows * cols)
    at = torch.searchsorted(theirs, ours).clamp(1, len(theirs) - 1)
    nearest = torch.minimum((theirs[at] - ours).abs(), (theirs[at - 1] - ours).abs())
    assert nearest.min() > 1e-12


@each_rule
def test_wrong_arguments_are_named(name):
    predict, _, _ = RULES[name]
    with pytest.raises(ValueError, match="count of at least 0, found -1"):
        predict(LARGE, -1)
    both_orders = [*Pattern.of(LARGE)[:4]]
    both_orders[3] = both_orders[3][1:]
    with pytest.raises(ValueError, match="to run from 0 to the 1999 links"):
        getattr(native, name)(*both_orders, 5, False, 0, 0, 0)
