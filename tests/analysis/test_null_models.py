"""Null models: what each kind keeps, what it changes, and that the statistics follow."""

import importlib

import numpy as np
import pytest
from analysis.graphs import DEGREE_PRESERVING, signed_digraphs
from analysis.graphs import graph as random_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array
from scipy.stats import chisquare

from sparse_engine import analysis
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
    """Of the six links of three nodes; of what keeps degrees, in test_every_realisation.py."""
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
