"""Pictures of the structure of a graph: what is on the axes is what is in the data."""

import numpy as np
import pytest
from scipy.sparse import coo_array, random_array

from sparse_engine import analysis
from sparse_engine.lab import plot


@pytest.fixture(scope="module")
def graph():
    w = random_array((60, 60), density=0.1, format="csr", rng=0)
    w.data -= 0.5
    return w


def test_degrees(axes, graph):
    distribution = analysis.degree_distribution(graph)
    assert plot.degrees(distribution, axes) is axes
    for line, counts in zip(axes.lines, distribution, strict=True):
        degree, nodes = line.get_data()
        np.testing.assert_array_equal(counts[degree], nodes)
        assert nodes.sum() == 60
    assert axes.get_xscale() == "linear"


def test_heavy_tails_are_logarithmic(axes):
    star = coo_array((np.ones(99), (np.arange(1, 100), np.zeros(99, int))), shape=(100, 100))
    plot.degrees(analysis.degree_distribution(star), axes)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_weights(axes, graph):
    distribution = analysis.weight_distribution(graph, bins=10)
    assert plot.weights(distribution, axes) is axes
    for patch, counts in zip(axes.patches, distribution[1:], strict=True):
        np.testing.assert_array_equal(patch.get_data().values, counts)
        np.testing.assert_array_equal(patch.get_data().edges, distribution.edges)


def test_feed_forward_loops(axes, graph):
    counts = analysis.feed_forward_loops(graph)
    null = analysis.null_model(graph, n=20)
    assert plot.loops(counts, axes, null=null) is axes
    shown = [label.get_text().replace("−", "-") for label in axes.get_xticklabels()]
    bars = {
        shown[round(bar.get_x() + bar.get_width() / 2)]: bar.get_height() for bar in axes.patches
    }
    assert bars == counts
    assert [pattern.count("-") % 2 for pattern in shown] == [0] * 4 + [1] * 4
    mean = axes.lines[0].get_ydata().astype(float)
    np.testing.assert_allclose(mean, [null.samples[f"030T:{p}"].mean() for p in shown])


def test_a_graph_without_links(axes):
    empty = coo_array((3, 3))
    plot.degrees(analysis.degree_distribution(empty), axes)
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 3]]] * 2
    axes.clear()
    plot.weights(analysis.weight_distribution(empty), axes)
    assert [patch.get_data().values.any() for patch in axes.patches] == [False] * 3
    axes.clear()
    null = analysis.null_model(empty, n=2)
    plot.loops(analysis.feed_forward_loops(empty), axes, null=null)
    assert [bar.get_height() for bar in axes.patches] == [0] * 8
