"""The structure that each wiring is chosen for."""

from unittest import mock

import networkx as nx
import numpy as np
import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.topology import (
    BarabasiAlbert,
    ConstantFanIn,
    ExponentialDistance,
    ReceptiveField,
    StochasticBlockModel,
    WattsStrogatz,
)
from sparse_engine.topology.init import exponential_distance


def coordinates(wiring, out_features, in_features, seed=0):
    """Rows and columns of the links."""
    links = wiring.links(out_features, in_features, RandomKey(seed))
    return links.rows().numpy(), links.col.long().numpy()


def wired(wiring, out_features, in_features, seed=0):
    """Rows and columns of the links, and the dense mask."""
    rows, columns = coordinates(wiring, out_features, in_features, seed)
    mask = np.zeros((out_features, in_features), bool)
    mask[rows, columns] = True
    return rows, columns, mask


@pytest.mark.parametrize("fan_in", [1, 9, 26, 49])
def test_fan_in_is_constant_and_columns_are_uniform(fan_in):
    rows, columns, _ = wired(ConstantFanIn(fan_in), 4000, 50)
    assert (np.bincount(rows, minlength=4000) == fan_in).all()
    expected = 4000 * fan_in / 50
    chi = ((np.bincount(columns, minlength=50) - expected) ** 2 / expected).sum()
    # 49 degrees of freedom, drawn without replacement; below 94 in 99.99 % of cases.
    assert chi / (1 - fan_in / 50) < 94


@pytest.mark.parametrize(("n", "k"), [(30, 4), (31, 6), (5, 4), (3, 2)])
def test_a_ring_is_that_of_networkx(n, k):
    mask = wired(WattsStrogatz(k, 0.0), n, n)[2]
    expected = nx.to_numpy_array(nx.watts_strogatz_graph(n, k, 0.0)).astype(bool)
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (7, 8)])
def test_a_ring_between_two_populations_links_the_nearest(shape):
    out_features, in_features = shape
    mask = wired(WattsStrogatz(3, 0.0), *shape)[2]
    place = (np.arange(out_features)[:, None] + 0.5) * in_features / out_features - 0.5
    apart = np.abs(place - np.arange(in_features))
    apart = np.minimum(apart, in_features - apart)
    assert (mask.sum(1) == 3).all()
    farthest, nearest_absent = np.where(mask, apart, 0).max(1), np.where(mask, 99, apart).min(1)
    assert (farthest <= nearest_absent + 1e-9).all()


@pytest.mark.parametrize("shape", [(400, 400), (400, 300)])
@pytest.mark.parametrize("neighbours", [9, 10])
@pytest.mark.parametrize("rewiring", [0.1, 0.37, 1.0])
def test_the_rewired_share_is_exact(shape, neighbours, rewiring):
    ring = wired(WattsStrogatz(neighbours, 0.0), *shape)[2]
    mask = wired(WattsStrogatz(neighbours, rewiring), *shape)[2]
    assert (mask & ~ring).sum() == round(rewiring * 400 * neighbours)
    assert (mask.sum(1) == neighbours).all()
    if shape == (400, 400):
        assert not mask.diagonal().any()


def test_rewired_links_go_anywhere_but_to_neighbours():
    ring = wired(WattsStrogatz(4, 0.0), 12, 12)[2]
    hits = sum(wired(WattsStrogatz(4, 0.5), 12, 12, seed)[2].astype(int) for seed in range(400))
    elsewhere = hits[~ring & ~np.eye(12, dtype=bool)]
    # 24 links for 84 positions, 400 times: each 114 times, with a deviation of less than 11.
    assert abs(elsewhere - 400 * 24 / 84).max() < 5 * 11
    assert abs(hits[ring] - 200).max() < 5 * 11


def exceeding(degrees, least):
    return (degrees >= least).mean()


@pytest.mark.parametrize("attached", [1, 3])
def test_scale_free_degrees_follow_the_law(attached):
    n, m = 30_000, attached
    rows, columns = coordinates(BarabasiAlbert(m), n, n)
    into, out_of = np.bincount(rows, minlength=n), np.bincount(columns, minlength=n)
    degrees = into + out_of
    assert degrees.min() == m
    for least in (m + 1, 2 * m + 1, 4 * m, 10 * m):
        # The limit of the distribution: Bollobas et al. 2001.
        law = m * (m + 1) / (least * (least + 1))
        assert exceeding(degrees, least) == pytest.approx(law, rel=0.1)
    theirs = max(degree for _, degree in nx.barabasi_albert_graph(n, m, seed=0).degree())
    assert theirs / 4 < degrees.max() < 4 * theirs
    assert (
        np.corrcoef(np.bincount(rows, minlength=n), np.bincount(columns, minlength=n))[0, 1] > 0.5
    )


def test_scale_free_links_join_each_pair_once_and_no_unit_with_itself():
    _, _, mask = wired(BarabasiAlbert(5), 300, 300)
    assert not mask.diagonal().any()
    assert not (mask & mask.T).any()
    both = mask | mask.T
    # Every unit is joined to 5 earlier ones.
    assert (np.tril(both).sum(1)[11:] == 5).all()
    assert both[:11, :11].sum() == 110


def test_scale_free_links_between_two_populations():
    out_features, in_features, m = 12_000, 18_000, 2
    rows, columns = coordinates(BarabasiAlbert(m), out_features, in_features)
    into, out_of = np.bincount(rows, minlength=out_features), np.bincount(columns)
    assert into.min() == m and out_of.min() == m
    # A unit's degree grows as the share s of arrivals on the other side: a tail of 1 / s.
    for degrees, other in ((into, 0.6), (out_of, 0.4)):
        slope = np.log(exceeding(degrees, 8) / exceeding(degrees, 32)) / np.log(4)
        assert slope == pytest.approx(1 / other, rel=0.2)


def test_blocks_have_exact_counts():
    densities = np.array([[0.9, 0.0, 0.31], [0.02, 1.0, 0.5]])
    wiring = StochasticBlockModel(densities.tolist(), row_sizes=(13, 27), column_sizes=(5, 20, 11))
    mask = wired(wiring, 40, 36)[2]
    for a, rows in enumerate(np.split(mask, [13])):
        for b, block in enumerate(np.split(rows, [5, 25], axis=1)):
            assert block.sum() == round(densities[a, b] * block.size)


def offsets(rows, columns, out_features, in_features):
    """Columns from the diagonal, around the ring."""
    best = (2 * rows + 1) * in_features // (2 * out_features)
    apart = np.abs(columns - best)
    return np.minimum(apart, in_features - apart)


def test_receptive_fields_without_randomness_are_the_nearest():
    rows, columns, _ = wired(ReceptiveField(0.05, 0.0), 100, 100)
    assert np.bincount(offsets(rows, columns, 100, 100)).tolist() == [100, 200, 200]


@pytest.mark.parametrize("r", [0.2, 0.5, 0.9])
def test_receptive_fields_have_the_stated_densities(r):
    out_features, in_features = 3000, 101
    rows, columns, _ = wired(ReceptiveField(0.2, r), out_features, in_features)
    apart = offsets(rows, columns, out_features, in_features)
    counts = np.bincount(apart, minlength=51)
    positions = np.where(np.arange(51) == 0, 1, 2) * out_features
    share = (1.0 + np.arange(51)) ** (-(1 - r) / r)
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        total = (np.minimum(1, middle * share) * positions).sum()
        low, high = (middle, high) if total < len(rows) else (low, middle)
    # Two offsets at each distance, each exact to one link.
    assert (np.abs(counts - np.minimum(1, low * share) * positions) <= 2).all()
    # Which rows have them is random: fan-in is no constant, and no row is left out.
    fan_in = np.bincount(rows, minlength=out_features)
    assert 0 < fan_in.min() < fan_in.max()


def test_distance_draws_in_proportion_and_without_replacement():
    columns = np.array([[0.0], [2.0], [5.0], [900.0]])
    weights = np.exp(-columns[:, 0] / 1.5)
    p = weights / weights.sum()
    trials = 800
    for candidates in (None, 3):
        wiring = ExponentialDistance(
            [[0.0]], columns, scale=1.5, density=0.5, candidates=candidates
        )
        hits = np.zeros((3, 3))
        for seed in range(trials):
            first, second = wiring.links(1, 4, RandomKey(seed)).col.tolist()
            hits[first, second] += 1
        for i in range(3):
            for j in range(i + 1, 3):
                pair = p[i] * p[j] / (1 - p[i]) + p[i] * p[j] / (1 - p[j])
                assert hits[i, j] / trials == pytest.approx(
                    pair, abs=4 * (pair * (1 - pair) / trials) ** 0.5
                )


def test_distance_shortens_with_scale_and_keeps_to_candidates():
    rng = np.random.default_rng(0)
    here, there = rng.random((150, 3)), rng.random((200, 3))
    apart = np.linalg.norm(here[:, None] - there, axis=2)
    lengths = []
    for scale in (0.001, 0.03, 0.1, 0.5, 1e6):
        mask = wired(ExponentialDistance(here, there, scale=scale, density=0.05), 150, 200)[2]
        lengths.append(apart[mask].mean())
    assert (np.diff(lengths) > 0).all()
    assert lengths[0] < 1.1 * np.sort(apart, axis=None)[:1500].mean()
    assert lengths[-1] == pytest.approx(apart.mean(), rel=0.05)
    mask = wired(
        ExponentialDistance(torch.tensor(here), there, scale=1e6, density=0.05, candidates=12),
        150,
        200,
    )[2]
    assert (apart[mask] <= np.broadcast_to(np.sort(apart)[:, 11:12], apart.shape)[mask]).all()
    assert mask.sum(1).max() <= 12


@pytest.mark.parametrize("candidates", [None, 12])
def test_distance_does_not_depend_on_its_blocks(candidates):
    places = np.random.default_rng(0).random((80, 2))
    wiring = ExponentialDistance(places, places, scale=0.1, density=0.1, candidates=candidates)
    whole = wiring.links(80, 80, RandomKey(5)).positions()
    with mock.patch.object(exponential_distance, "BLOCK", 100):
        assert torch.equal(wiring.links(80, 80, RandomKey(5)).positions(), whole)


def test_modules_are_as_equal_as_possible():
    mask = wired(StochasticBlockModel.modular(3, within=1.0, between=0.0), 10, 8)[2]
    expected = np.zeros((10, 8), bool)
    expected[0:3, 0:2] = expected[3:6, 2:5] = expected[6:10, 5:8] = True
    assert np.array_equal(mask, expected)
