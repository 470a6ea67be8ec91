"""Null models: what each keeps, and that every graph is as likely."""

import functools
import importlib
from collections import Counter

import numpy as np
import pytest
from analysis.graphs import DEGREE_PRESERVING, signed_digraphs
from analysis.graphs import graph as random_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array
from scipy.stats import chi2, chisquare

from sparse_engine import analysis
from sparse_engine.analysis import DegreePreserving, null_model
from sparse_engine.analysis.null_model import NullModel

KINDS = [analysis.SignShuffle(), analysis.ErdosRenyiNull(), *DEGREE_PRESERVING]


@st.composite
def graphs(draw):
    """Of which every value is another number, one of them 0."""
    w = draw(signed_digraphs(least=0, most=14))
    rng = np.random.default_rng(w.nnz)
    w.data = rng.permutation(np.arange(w.nnz) + 1.0) * rng.choice([-1, 1], w.nnz)
    w.data[:1] = 0
    return w


@pytest.fixture(scope="module")
def graph():
    return random_graph(60, 0.1)


def pattern(w):
    """Dense bool, without self-loops."""
    coo = w.tocoo()
    there = np.zeros(w.shape, bool)
    there[coo.row, coo.col] = True
    return there & ~np.eye(len(there), dtype=bool)


def of_sign(w, sign):
    coo = w.tocoo()
    chosen = np.sign(coo.data) == sign
    return pattern(coo_array((coo.data[chosen], (coo.row[chosen], coo.col[chosen])), w.shape))


def degrees(there):
    return there.sum(0).tolist(), there.sum(1).tolist()


def loops(w):
    coo = w.tocoo()
    return {(i, v) for i, j, v in zip(coo.row, coo.col, coo.data, strict=True) if i == j}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=40)
@given(graphs(), st.integers(0, 5))
def test_what_every_kind_keeps(kind, w, sample):
    drawn = kind.draw(w, seed=1, sample=sample)
    assert drawn.shape == w.shape
    assert sorted(drawn.data) == sorted(w.data)
    coo = drawn.tocoo()
    assert len(set(zip(coo.row.tolist(), coo.col.tolist(), strict=True))) == w.nnz
    assert (pattern(drawn).sum(), len(loops(drawn))) == (pattern(w).sum(), len(loops(w)))
    if kind != analysis.SignShuffle():
        assert loops(drawn) == loops(w)


@pytest.mark.parametrize("kind", DEGREE_PRESERVING, ids=str)
@settings(max_examples=40)
@given(graphs(), st.integers(0, 5))
def test_what_switching_keeps(kind, w, sample):
    drawn = kind.draw(w, seed=2, sample=sample)
    before, after = pattern(w), pattern(drawn)
    assert degrees(after) == degrees(before)
    for sign in (-1, 0, 1):
        (out, into), (out_after, into_after) = (degrees(of_sign(x, sign)) for x in (w, drawn))
        assert out_after == out
        assert into_after == into or not kind.keep_signs
    if kind.keep_mutual:
        assert degrees(after & after.T) == degrees(before & before.T)


@given(graphs())
def test_a_sign_shuffle_keeps_the_pattern(w):
    drawn = analysis.SignShuffle().draw(w, seed=3)
    np.testing.assert_array_equal(drawn.indptr, w.indptr)
    np.testing.assert_array_equal(drawn.indices, w.indices)


def test_what_need_not_be_kept_is_not(graph):
    """Without keep_mutual the mutual pairs change, without keep_signs the signs of links in."""
    kind, before = analysis.DegreePreserving(keep_signs=False), pattern(graph)
    free = [kind.draw(graph, sample=k) for k in range(5)]
    assert len({(after & after.T).sum() for after in map(pattern, free)}) > 1
    assert degrees(of_sign(free[0], 1))[1] != degrees(of_sign(graph, 1))[1]
    assert all(degrees(pattern(each)) == degrees(before) for each in free)


@pytest.mark.parametrize(
    ("kind", "links", "count"),
    [
        (analysis.ErdosRenyiNull(), [1, 0, 0, 1, 1, 0], 20),  # any three of six
        (analysis.ErdosRenyiNull(), [1, 1, 1, 1, -1, -1], 15),
        (analysis.SignShuffle(), [1, 1, 1, 1, -1, -1], 15),
    ],
)
def test_every_graph_and_every_arrangement_of_signs_is_as_likely(kind, links, count):
    """Of the six links of three nodes; of what keeps degrees, below."""
    w = np.zeros((3, 3))
    w[[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]] = links
    drawn = [np.sign(kind.draw(csr_array(w), sample=k).toarray()).tobytes() for k in range(600)]
    graphs, counts = np.unique(drawn, return_counts=True)
    assert len(graphs) == count
    assert chisquare(counts).statistic < 3 * count


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_statistics_are_those_of_the_drawn_graphs(kind, graph):
    model = analysis.null_model(graph, kind=kind, n=4, seed=5)
    for k in range(4):
        drawn = kind.draw(graph, seed=5, sample=k)
        report, signed = analysis.structural_balance(drawn), analysis.signed_triad_census(drawn)
        for name in ("class_mean", "pooled", "triad_level"):
            np.testing.assert_equal(model.samples[name][k], getattr(report, name))
        balanced, total = report.classes["030T"]
        assert model.samples["030T balance"][k] == balanced / total
        assert model.samples["021C"][k] == analysis.triad_census(drawn)["021C"]
        for name, values in model.samples.items():
            assert ":" not in name or values[k] == signed[name]
    signed = analysis.signed_triad_census(graph)
    occurring = {k for k, v in signed.items() if v and k[:3] not in ("003", "012", "102")}
    assert occurring <= model.observed.keys()
    for name in occurring:
        assert model.observed[name] == signed[name]


def test_a_kind_of_ones_own(graph):
    class Negated(analysis.NullKind):
        def draw(self, w, *, seed=0, sample=0):
            return -w if sample else w

    model = analysis.null_model(graph, kind=Negated(), n=2)
    census = analysis.signed_triad_census(graph)
    assert model.samples["030T:+++"].tolist() == [census["030T:+++"], census["030T:---"]]


def test_z_scores_and_p_values(graph):
    model = analysis.null_model(graph, n=20)
    x, observed = model.samples["030T:+++"], model.observed["030T:+++"]
    assert model.z_scores["030T:+++"] == pytest.approx((observed - x.mean()) / x.std(ddof=1))
    assert model.p_values["030T:+++"] == (1 + (x >= observed).sum()) / 21
    assert np.isnan(model.z_scores["030T"])
    assert model.to_dict()["030T"]["z"] is None


def test_scores_of_what_does_not_vary_or_is_not_there():
    x = {"same": np.full(10, 0.1), "some": np.array([np.nan, 1, 2, 3]), "none": np.full(4, np.nan)}
    model = NullModel({"same": 0.3, "some": 3.0, "none": 0.5}, x)
    assert np.isnan([model.z_scores["same"], model.z_scores["none"], model.p_values["none"]]).all()
    assert (model.z_scores["some"], model.p_values["some"]) == (1, 0.5)
    assert model.to_dict()["none"] == {"observed": 0.5, "mean": None, "z": None, "p": None}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_samples_depend_on_nothing_but_their_number(kind, graph, threads, monkeypatch):
    """Neither on threads, nor on how many others there are, nor on how many are drawn at once."""
    module = importlib.import_module(analysis.null_model.__module__)
    monkeypatch.setattr(module, "LINKS_AT_ONCE", 40 * graph.nnz)
    results = []
    for count, n in ((1, 3), (2, 130), (5, 4)):
        threads(count)
        results.append(analysis.null_model(graph, kind=kind, n=n, seed=9).samples)
    for one in results[1:]:
        for name in one.keys() & results[0].keys():
            np.testing.assert_array_equal(one[name][:3], results[0][name])
    other = analysis.null_model(graph, kind=kind, n=3, seed=10).samples
    assert any((other[k] != x).any() for k, x in results[0].items() if k in other and x.std() > 0)


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


def of_every_realisation(kind):
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
    for w in of_every_realisation(kind):
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
