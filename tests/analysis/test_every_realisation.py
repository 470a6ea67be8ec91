"""Degree-preserving random graphs: each that there is, found by enumeration, is as likely."""

import functools
from collections import Counter

import numpy as np
import pytest
from analysis.graphs import DEGREE_PRESERVING
from scipy.sparse import csr_array
from scipy.stats import chi2

from sparse_engine.analysis import DegreePreserving, null_model

NODES = 4

# Graphs of which swaps of two links reach no other, or not all.
HARD = [
    [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    [[0, 1, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0]],
    [[0, -1, -1, -1], [-1, 0, -1, 0], [1, 0, 0, -1], [-1, 1, 0, 0]],
    [[0, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]],
    [[0, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]],
    [[0, -1, -1, -1], [1, 0, 1, -1], [0, -1, 0, 1], [1, 0, -1, 0]],
]


@functools.cache
def matrices(nodes):
    """Every matrix of 1, -1 and 0 with zeros on the diagonal, int8 ``[n, nodes, nodes]``."""
    places = np.flatnonzero(~np.eye(nodes, dtype=bool))
    every = np.zeros((3 ** len(places), nodes * nodes), np.int8)
    for k, place in enumerate(places):
        every[:, place] = np.arange(len(every)) // 3**k % 3 - 1
    return every.reshape(-1, nodes, nodes)


def kept(kind, w):
    """Invariants of the kind for each matrix ``[n, nodes, nodes]``: numbers ``[n, ...]``.

    ``w[i, j]`` is the link from j to i, so that a column has the links out of a node.
    """
    back = w.transpose(0, 2, 1)
    if kind.keep_signs and kind.keep_mutual:
        symbols = [(w == a) & (back == b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        return np.stack([each.sum(2) for each in symbols], 1)
    out = [(w == sign).sum(1) for sign in (-1, 1)]
    if kind.keep_signs:
        return np.stack(out + [(w == sign).sum(2) for sign in (-1, 1)], 1)
    single = [(w != 0).sum(2)]
    if kind.keep_mutual:
        single.append(((w != 0) & (back != 0)).sum(2))
    return np.stack(out + single, 1)


@functools.cache
def kept_by_every(kind, nodes):
    return kept(kind, matrices(nodes)).astype(np.int8).reshape(len(matrices(nodes)), -1)


def realisations(kind, w):
    same = (kept_by_every(kind, len(w)) == kept(kind, np.int8(w)[None]).reshape(1, -1)).all(1)
    return {each.tobytes() for each in matrices(len(w))[same]}


def drawn(kind, w, samples):
    w = csr_array(np.array(w, float))
    return [np.int8(kind.draw(w, seed=1, sample=k).toarray()).tobytes() for k in range(samples)]


def graphs(kind):
    """Hard ones, and random ones of 2 to 12 realisations."""
    rng, found = np.random.default_rng(0), list(HARD)
    while len(found) < len(HARD) + 4:
        density = rng.choice([0.5, 0.7, 0.9])
        w = (rng.random((NODES, NODES)) < density) * rng.choice([-1, 1], (NODES, NODES))
        np.fill_diagonal(w, 0)
        found.append(w.tolist())
    return found


@pytest.mark.parametrize("kind", DEGREE_PRESERVING, ids=str)
def test_each_is_as_likely(kind):
    several = 0
    for w in graphs(kind):
        there = realisations(kind, w)
        if len(there) > 12:
            continue
        counts = Counter(drawn(kind, w, 15 * len(there)))
        assert counts.keys() == there
        statistic = sum((count - 15) ** 2 / 15 for count in counts.values())
        # There are some thirty graphs: of such tests, 1 in 300 would fail by chance.
        assert len(there) == 1 or statistic < chi2.isf(1e-4, len(there) - 1), w
        several += len(there) > 1
    assert several >= 4


@pytest.mark.parametrize(("keep_mutual", "pairs"), [(False, False), (True, False), (True, True)])
def test_a_large_graph_of_one_triangle(keep_mutual, pairs):
    """Beyond the size up to which there is another way to reach both.

    Pairs have a positive link one way round and a negative one the other.
    """
    w = np.zeros((40, 40))
    w[[8, 20, 33], [33, 8, 20]] = 1
    w -= pairs * w.T
    samples = drawn(DegreePreserving(keep_mutual=keep_mutual), w, 200)
    assert {*samples} == {np.int8(each).tobytes() for each in (w, w.T)}
    assert 60 < samples.count(samples[0]) < 140


@pytest.mark.parametrize("kind", DEGREE_PRESERVING, ids=str)
@pytest.mark.parametrize("nodes", [8, 16, 24])
def test_dense_graphs_do_not_freeze(kind, nodes):
    rng = np.random.default_rng(nodes)
    for _ in range(5):
        w = (rng.random((nodes, nodes)) < 0.8) * rng.choice([-1, 1], (nodes, nodes))
        np.fill_diagonal(w, 0)
        assert len({*drawn(kind, w, 8)}) > 1


@pytest.mark.parametrize("kind", DEGREE_PRESERVING, ids=str)
@pytest.mark.parametrize("nodes", [6, 40])
def test_a_chain_that_hardly_moves_says_so(kind, nodes):
    """The full graph has no other realisation, and neither has a star."""
    full = 1.0 - np.eye(nodes)
    star = np.zeros((nodes, nodes))
    star[0, 1:] = 1
    for w in (full, star):
        with pytest.warns(UserWarning, match="found 0 moves of .*few other graphs keep all this"):
            model = null_model(csr_array(w), kind=kind, n=2)
        assert np.isnan(list(model.z_scores.values())).all()


def test_a_graph_without_links_has_nothing_to_say():
    null_model(csr_array((5, 5)), kind=DegreePreserving(), n=2)
