"""Feed-forward loops, found literally and planted, and lesions of them; published networks."""

import json
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from torch import nn

from sparse_engine import analysis, convert
from sparse_engine.analysis.lesions import LesionCurve, links_of_loops
from sparse_engine.lab.experiments.zhang_lesions import forecast_error, read_network
from sparse_engine.nn import GroupedWeight, SparseLinear, SparseWeight

KINDS = ("unbalanced", "balanced", "both", "random links")


@pytest.fixture
def planted():
    """A model of one weight, its loops, their links and whether they are balanced."""
    graph, loops = analysis.planted_network(60, 0.1, loops=9, balanced=1 / 3, seed=5)
    model = nn.ModuleDict({"recurrent": convert.from_scipy(graph)})
    return model, loops, links_of_loops(graph, loops), np.sign(graph.data)


def removed_by(model):
    """An evaluation that notes which links are gone, and returns their number."""
    notes = []

    def evaluate(model):
        gone = (model["recurrent"].values == 0).nonzero().flatten().tolist()
        notes.append(frozenset(gone))
        return len(gone)

    return notes, evaluate


@settings(max_examples=60)
@given(
    n=st.integers(1, 9),
    density=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    at_once=st.sampled_from([1, 7, 10_000]),
    seed=st.integers(0, 2**32),
)
def test_every_loop_is_found(n, density, at_once, seed):
    dense = np.random.default_rng(seed).random((n, n)) < density
    w = csr_array(dense.astype(float))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis.lesions, "AT_ONCE", at_once)
        found = analysis.find_feed_forward_loops(w)
    expected = [
        (u, v, w)
        for u, v, w in permutations(range(n), 3)
        if dense[v, u] and dense[w, v] and dense[w, u]
    ]
    expected.sort(key=lambda loop: (loop[2], loop[0], loop[1]))
    assert found.dtype == np.int64 and found.shape == (len(expected), 3)
    assert [*map(tuple, found.tolist())] == expected
    assert len(found) == analysis.structural_balance(w).transitive[1]


def test_planted_loops_are_all_that_their_nodes_have():
    network = analysis.planted_network(60, 0.1, loops=9, balanced=1 / 3, seed=5)
    graph, loops = network
    assert graph.shape == (60, 60) and loops.shape == (9, 3) and set(graph.data) == {-1.0, 1.0}
    found = {*map(tuple, analysis.find_feed_forward_loops(graph).tolist())}
    assert {*map(tuple, loops.tolist())} <= found
    dense = graph.toarray()
    signs = [dense[v, u] * dense[w, v] * dense[w, u] for u, v, w in loops]
    assert sorted(signs) == [-1] * 6 + [1] * 3
    degree = (dense != 0).sum(0) + (dense != 0).sum(1)
    alone = [[node for node in loop if degree[node] == 2] for loop in loops.tolist()]
    assert all(len(pair) >= 2 for pair in alone)
    roles = {loop.index(node) for loop, pair in zip(loops.tolist(), alone, strict=True)
             for node in pair}  # fmt: skip
    assert roles == {0, 1, 2}
    # Elsewhere the network is the one it was made of.
    before = analysis.signed_network(60, 0.1, seed=5).toarray()
    others = np.flatnonzero(~np.isin(np.arange(60), [node for pair in alone for node in pair]))
    np.testing.assert_array_equal(dense[np.ix_(others, others)], before[np.ix_(others, others)])


def test_planting_is_a_function_of_the_seed():
    first, again, other = (analysis.planted_network(40, 0.1, seed=seed) for seed in (1, 1, 2))
    assert (first.graph != again.graph).nnz == 0 and (first.loops == again.loops).all()
    assert (first.loops != other.loops).any()


def test_positions_of_links():
    triangle = csr_array(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0]]))
    assert analysis.lesions.links_of_loops(triangle, np.array([[0, 1, 2]])).tolist() == [[0, 2, 1]]
    assert analysis.lesions.links_of_loops(triangle, np.empty((0, 3), np.int64)).shape == (0, 3)


@pytest.mark.parametrize("seed", range(5))
def test_planted_loops_are_found_whatever_their_values(seed):
    graph, loops = analysis.planted_network(64, 0.08, loops=10, seed=seed)
    graph.data[:] = 0
    assert sorted(analysis.find_planted_loops(graph).tolist()) == sorted(loops.tolist())


def test_loops_that_were_not_planted_are_not_found():
    assert not len(analysis.find_planted_loops(analysis.planted_network(64, 0.2, loops=0).graph))


def test_loops_are_removed_one_after_the_other(planted):
    model, loops, links, signs = planted
    notes, evaluate = removed_by(model)
    found = analysis.lesion(model, loops, evaluate, orders=2)
    balanced = signs[links].prod(1) > 0
    wholes = {
        "unbalanced": links[~balanced],
        "balanced": links[balanced],
        "both": links,
    }
    assert notes.pop(0) == frozenset() and found.intact == 0
    for name in KINDS:
        curve = found.curves[name]
        assert curve.metric.tolist() == curve.links.tolist()
        for order in curve.metric:
            steps = [frozenset(), *notes[: curve.steps]]
            del notes[: curve.steps]
            assert [len(gone) for gone in steps] == order.tolist() == [*range(0, len(order) * 3, 3)]
            added = [new - old for old, new in pairwise(steps)]
            assert all(old < new for old, new in pairwise(steps))
            if name in wholes:
                assert set(added) == {frozenset(loop) for loop in wholes[name].tolist()}
    assert not notes
    assert [found.curves[name].steps for name in KINDS] == [6, 3, 9, 6]


def test_loops_that_share_links_share_their_removal():
    graph = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]])
    model = nn.ModuleDict({"recurrent": SparseWeight.from_dense(graph)})
    _, evaluate = removed_by(model)
    found = analysis.lesion(model, np.array([[0, 1, 2], [0, 1, 3]]), evaluate, orders=3)
    assert found.curves["balanced"].links.tolist() == [[0, 3, 5]] * 3
    assert found.curves["balanced"].metric.tolist() == [[0, 3, 5]] * 3
    assert found.curves["unbalanced"].steps == 0
    # Its five links have room for one random loop.
    assert found.curves["random links"].links.tolist() == [[0, 3]] * 3


def test_a_loop_through_a_zero_is_not_balanced():
    dense = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0]])
    mask = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    weight = SparseWeight.from_dense(dense, mask)
    found = analysis.lesion(weight, np.array([[0, 1, 2]]), lambda _: 0.0)
    assert (found.curves["unbalanced"].steps, found.curves["balanced"].steps) == (1, 0)


def test_the_model_is_as_before(planted):
    model, loops, *_ = planted
    before = model["recurrent"].values.detach().clone()
    analysis.lesion(model, loops, lambda _: 0.0)
    assert model["recurrent"].values.equal(before)
    assert model["recurrent"].values.requires_grad

    def fail(model):
        if (model["recurrent"].values == 0).any():
            raise RuntimeError("stop")
        return 0.0

    with pytest.raises(RuntimeError, match="stop"):
        analysis.lesion(model, loops, fail)
    assert model["recurrent"].values.equal(before)


def test_orders_follow_from_the_seed(planted):
    model, loops, *_ = planted

    def run(seed):
        def evaluate(model):
            return (
                model["recurrent"].values.detach() @ torch.arange(model["recurrent"].nnz).double()
            )

        return analysis.lesion(model, loops, evaluate, orders=4, steps=2, seed=seed)

    first, again, other = run(1), run(1), run(2)
    for name in KINDS:
        assert first.curves[name].steps == 2
        np.testing.assert_array_equal(first.curves[name].metric, again.curves[name].metric)
        assert (first.curves[name].metric != other.curves[name].metric).any()
        assert len({*first.curves[name].metric[:, 1]}) > 1


def test_mean_and_interval():
    rng = np.random.default_rng(0)
    metric = np.column_stack([np.ones(400), rng.normal(3, 2, 400)])
    curve = LesionCurve(np.zeros((400, 2), np.int64), metric)
    np.testing.assert_allclose(curve.mean, metric.mean(0))
    low, high = curve.interval()
    error = metric[:, 1].std(ddof=1) / 20
    np.testing.assert_allclose([low[0], high[0]], 1)
    # Quantiles of 2000 means have a standard error of 0.06.
    bounds = curve.mean[1] - 1.96 * error, curve.mean[1] + 1.96 * error
    np.testing.assert_allclose([low[1], high[1]], bounds, atol=0.3 * error)
    narrow_low, narrow_high = curve.interval(0.5)
    assert low[1] < narrow_low[1] < curve.mean[1] < narrow_high[1] < high[1]
    single = LesionCurve(np.zeros((1, 2), np.int64), metric[:1])
    assert np.isnan(single.interval()).all()
    with pytest.raises(ValueError, match=r"level in \(0, 1\), found 95"):
        curve.interval(95)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orders": 0}, "orders and steps of at least 1 and seed of at least 0, found 0"),
        ({"steps": 0}, "found 10, 0 and 0"),
        ({"seed": -1}, "found 10, None and -1"),
        ({"motifs": np.empty((0, 3), np.int64)}, "at least one loop, found none"),
        ({"motifs": np.array([[0, 0, 0]])}, "found none from 0 to 0"),
    ],
)
def test_wrong_arguments(planted, options, message):
    model, loops, *_ = planted
    with pytest.raises(ValueError, match=message):
        analysis.lesion(**({"model": model, "motifs": loops, "evaluate": lambda _: 0.0} | options))


def test_the_weight_is_named_where_there_are_several(planted):
    model, loops, *_ = planted
    several = nn.ModuleDict({**model, "other": SparseLinear(60, 60, density=0.1)})
    with pytest.raises(ValueError, match=r"found 2 among \['recurrent', 'other.weight'\]"):
        analysis.lesion(several, loops, lambda _: 0.0)
    found = analysis.lesion(several, loops, lambda _: 0.0, weight=several["recurrent"])
    assert found.curves["both"].steps == 9
    with pytest.raises(ValueError, match="found 0 among"):
        analysis.lesion(
            several, loops, lambda _: 0.0, weight=SparseLinear(60, 60, density=0.1).weight
        )
    with pytest.raises(ValueError, match="found 0 among"):
        analysis.lesion(oblong := SparseLinear(3, 4, density=0.5), loops, lambda _: 0.0)
    with pytest.raises(ValueError, match="found 0 among"):
        analysis.lesion(oblong, loops, lambda _: 0.0, weight=oblong.weight)


def test_values_that_are_computed_cannot_be_removed(planted):
    model, loops, *_ = planted
    weight = model["recurrent"]
    grouped = GroupedWeight(weight.values, weight.pattern)
    with pytest.raises(ValueError, match="values are a Parameter, found GroupedWeight"):
        analysis.lesion(grouped, loops, lambda _: 0.0)


# Mean squared errors times 10,000: of the network, and without its unbalanced loops.
PUBLISHED = {
    "mackey_glass_1": ("3.35", "12.2"),
    "mackey_glass_2": ("3.39", "3.74"),
    "mackey_glass_3": ("4.25", "28.1"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(data, name, monkeypatch):
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(data))
    model = read_network(data / "lesion" / name)
    loops = analysis.find_planted_loops(model.recurrent.weight_hh_l0)
    planted = json.loads((data / "lesion" / name / "hp.json").read_text())["feedforward_motifs"]
    assert sorted(loops.tolist()) == sorted(planted) and len(planted) == 15
    found = analysis.lesion(model, loops, forecast_error, orders=2)
    ends = found.intact, found.curves["unbalanced"].mean[-1]
    assert tuple(f"{1e4 * end:.3g}" for end in ends) == PUBLISHED[name]
    # The controls that were not published: the planted loops hurt less than links at random.
    assert found.curves["balanced"].mean[-1] > 3 * found.intact
    assert found.curves["random links"].mean[-1] > found.curves["both"].mean[-1] > found.intact
