"""Degrees, strength, distances and spectrum against networkx and dense linear algebra."""

import networkx as nx
import numpy as np
import pytest
from analysis.graphs import graph
from scipy.sparse import coo_array, random_array

from sparse_engine import analysis
from sparse_engine.convert import to_scipy
from sparse_engine.nn import SparseWeight


def digraph(w):
    built = nx.from_scipy_sparse_array(w.T, create_using=nx.DiGraph)
    built.remove_edges_from([*nx.selfloop_edges(built)])
    return built


GRAPHS = [graph(n, density, n) for n in (1, 5, 40, 130) for density in (0.02, 0.1, 0.5, 1.0)]
EMPTY = [coo_array((n, n)).tocsr() for n in (0, 1, 3)]


@pytest.mark.parametrize("w", GRAPHS)
def test_degrees(w):
    dense = w.toarray() != 0
    found = analysis.degree_distribution(w)
    np.testing.assert_array_equal(found.into, np.bincount(dense.sum(1)))
    np.testing.assert_array_equal(found.out, np.bincount(dense.sum(0)))


@pytest.mark.parametrize("w", GRAPHS)
def test_reciprocity_and_small_world(w):
    directed = digraph(w)
    if directed.number_of_edges():
        assert analysis.reciprocity(w) == nx.overall_reciprocity(directed)
    undirected = directed.to_undirected()
    found = analysis.small_world(w)
    largest = undirected.subgraph(max(nx.connected_components(undirected), key=len))
    if len(largest) > 1:
        length = nx.average_shortest_path_length(largest)
        assert found.path_length == pytest.approx(length, rel=1e-12)
        clustering = nx.transitivity(undirected)
        assert np.nan_to_num(found.clustering) == pytest.approx(clustering, rel=1e-12)
        n, k = len(undirected), 2 * undirected.number_of_edges() / len(undirected)
        if k > 1 and clustering:
            expected = clustering / (k / (n - 1)) / (length / (np.log(n) / np.log(k)))
            assert found.sigma == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("w", GRAPHS)
def test_spectral_radius(w):
    dense = np.abs(np.linalg.eigvals(w.toarray())).max()
    assert analysis.spectral_radius(w, tolerance=0) == pytest.approx(dense, rel=1e-8, abs=1e-12)


def test_spectral_radius_of_what_has_no_cycle():
    chain = coo_array((np.ones(99), (np.arange(1, 100), np.arange(99))), shape=(100, 100))
    assert analysis.spectral_radius(chain) == 0


def test_a_spectral_radius_is_as_exact_as_asked():
    """Random links: the largest eigenvalues are about equal in magnitude."""
    rng = np.random.default_rng(0)
    w = random_array((600, 600), density=0.02, rng=rng, data_sampler=rng.standard_normal)
    exact = np.abs(np.linalg.eigvals(w.toarray())).max()
    errors = [
        abs(analysis.spectral_radius(w, tolerance=each) / exact - 1) for each in (1e-1, 1e-6, 0)
    ]
    assert 1e-9 < errors[0] < 0.05 and errors[1] < 1e-6 and errors[2] < 1e-11


def test_weights():
    """0 -> 1 -> 2 and 0 -> 2, balanced; 0 -> 1 -> 3 and 0 -> 3, not; and 4 -> 5."""
    sources, targets = [0, 1, 0, 1, 0, 4], [1, 2, 2, 3, 3, 5]
    values = [1.0, 0.8, 0.1, 0.6, -0.5, -0.9]
    found = analysis.weight_distribution(
        coo_array((values, (targets, sources)), shape=(6, 6)), bins=4
    )
    np.testing.assert_array_equal(found.edges, [-1, -0.5, 0, 0.5, 1])
    assert found.every.tolist() == [1, 1, 1, 3]
    assert found.balanced.tolist() == [0, 0, 1, 2]
    assert found.unbalanced.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("w", GRAPHS)
def test_summary(w):
    directed, before = digraph(w), w.copy()
    found = analysis.summarize(w)
    np.testing.assert_array_equal(w.data, before.data)
    assert (found.nodes, found.links) == (len(directed), w.nnz)
    assert found.self_loops == w.nnz - directed.number_of_edges()
    assert found.weak_components == nx.number_weakly_connected_components(directed)
    strong = [*nx.strongly_connected_components(directed)]
    assert found.strong_components == len(strong)
    assert found.largest_strong == max(map(len, strong))


@pytest.mark.parametrize("w", EMPTY)
def test_graphs_without_links(w):
    found = analysis.summarize(w)
    assert (found.links, found.spectral_radius, found.weak_components) == (0, 0, w.shape[0])
    assert found.to_dict()["reciprocity"] is None
    assert not analysis.weight_distribution(w).every.any()
    assert analysis.degree_distribution(w).into.sum() == w.shape[0]


FORMS = {
    "weight": lambda weight: weight,
    "csr": to_scipy,
    "coo": lambda weight: to_scipy(weight).tocoo(),
    "torch": lambda weight: weight.to_torch_csr(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (0, 4), (4, 0)])
def test_is_the_sum_of_magnitudes_of_each_column(form, shape):
    weight = SparseWeight.erdos_renyi(*shape, density=0.3)
    expected = weight.to_dense().detach().abs().double().sum(0).numpy()
    found = analysis.input_strength(FORMS[form](weight))
    assert found.dtype == np.float64 and found.shape == (shape[1],)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
