"""Link prediction: the scores word for word, and the cells that they choose."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from testing import awkward_patterns, pattern_of, random_pattern
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import Links, Pattern, RandomKey
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
        ops.ch3_l3,
        ops.ch3_l3.reference,
        lambda mask: literal_scores(
            mask, lambda e1, e2: 1 / math.sqrt((1 + e1) * (1 + e2)), lambda i, e: 0
        ),
    ),
    "ch2_l3n": (
        ops.ch2_l3n,
        ops.ch2_l3n.reference,
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
    for run in (predict, reference):
        found = run(links, links.absent)
        assert found.positions.dtype == torch.int64 and found.scores.dtype == torch.float64
        assert found.positions.tolist() == [*expected]
        np.testing.assert_allclose(found.scores, [*expected.values()], rtol=1e-13)


@pytest.mark.parametrize(
    ("links", "ch3_l3", "ch2_l3n"),
    [
        # One path to (0, 1), of two units with a link between them and no other.
        ([(0, 0), (1, 0), (1, 1)], {1: 1.0}, {1: 4.0}),
        # Column 0 has a link to row 2 as well, which for (0, 1) is outside and for (0, 2) inside.
        (
            [(0, 0), (1, 0), (1, 1), (2, 0), (2, 2)],
            {1: 0.5**0.5, 2: 0.5**0.5, 5: 0.5**0.5, 7: 0.5**0.5},
            {1: 3.0, 2: 3.0, 5: 3.0, 7: 3.0},
        ),
    ],
)
def test_small_networks_by_hand(links, ch3_l3, ch2_l3n):
    rows, cols = torch.tensor(links).T
    mask = torch.zeros(int(rows.max()) + 1, int(cols.max()) + 1, dtype=torch.bool)
    mask[rows, cols] = True
    pattern = pattern_of(mask)
    for run, expected in ((ops.ch3_l3, ch3_l3), (ops.ch2_l3n, ch2_l3n)):
        found = run(pattern.links, 9)
        scores = dict(zip(found.positions.tolist(), found.scores.tolist(), strict=True))
        assert scores == pytest.approx(expected)


@each_rule
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_equals_the_reference(name, pattern):
    predict, reference, _ = RULES[name]
    absent = pattern.links.absent
    found, expected = predict(pattern.links, absent), reference(pattern.links, absent)
    assert torch.equal(found.positions, expected.positions)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-12)


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
@pytest.mark.parametrize("key", [None, KEY], ids=["greatest", "sampled"])
def test_threads_change_nothing(name, key, threads):
    predict, _, _ = RULES[name]

    def run(count):
        threads(count)
        return [*predict(LARGE, 20_000, key=key), *predict(LARGE, LARGE.absent, key=key)]

    alone = run(1)
    for count in (2, 3, 5):
        for one, many in zip(alone, run(count), strict=True):
            assert torch.equal(one, many)


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
    sampled, plain = (ops.ch3_l3(LARGE, LARGE.absent, key=key).scores for key in (KEY, None))
    ours = torch.exp(-plain / sampled)
    rows, cols = 2**20, 2**31 - 1
    empty = Links(torch.zeros(rows + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int32), cols)
    theirs = ops.sample_absent(empty, 20_000, KEY) / (rows * cols)
    at = torch.searchsorted(theirs, ours).clamp(1, len(theirs) - 1)
    nearest = torch.minimum((theirs[at] - ours).abs(), (theirs[at - 1] - ours).abs())
    assert nearest.min() > 1e-12


def odds_of_samples(scores, count):
    """The odds of each set of cells that are drawn one after the other."""
    odds = {}
    for order in itertools.permutations(scores, count):
        left, odd = sum(scores.values()), 1.0
        for cell in order:
            odd *= scores[cell] / left
            left -= scores[cell]
        chosen = tuple(sorted(order))
        odds[chosen] = odds.get(chosen, 0.0) + odd
    return odds


@each_rule
@pytest.mark.parametrize("reference", [False, True])
def test_the_odds_of_every_sample(name, reference):
    predict = RULES[name][reference]
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 1]], dtype=torch.bool)
    scores = RULES[name][2](mask)
    assert len(scores) == 5 and len(set(scores.values())) > 1
    odds = odds_of_samples(scores, 2)
    draws, counts, links = 1500, dict.fromkeys(odds, 0), pattern_of(mask).links
    for step in range(draws):
        cells = predict(links, 2, key=RandomKey(7, step)).positions
        counts[tuple(cells.tolist())] += 1
    deviation = sum((counts[k] - draws * odds[k]) ** 2 / (draws * odds[k]) for k in odds)
    # Chi-square of 9 degrees of freedom: 99.9 % below 27.9.
    assert len(odds) == 10 and deviation < 27.9


@each_rule
@pytest.mark.parametrize("pattern", ["nothing", "ordinary"])
@pytest.mark.parametrize("sample", [False, True])
def test_opcheck(name, pattern, sample):
    both_orders = PATTERNS[pattern][:4]
    opcheck(getattr(native, name).default, (*both_orders, 100, sample, 1, 2, 3))


@each_rule
def test_wrong_arguments_are_named(name):
    predict, _, _ = RULES[name]
    with pytest.raises(ValueError, match="count of at least 0, found -1"):
        predict(LARGE, -1)
    both_orders = [*Pattern.of(LARGE)[:4]]
    both_orders[3] = both_orders[3][1:]
    with pytest.raises(ValueError, match="to run from 0 to the 1999 links"):
        getattr(native, name)(*both_orders, 5, False, 0, 0, 0)
