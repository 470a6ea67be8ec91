"""Pictures: what is on the axes is what is in the data."""

import sys

import numpy as np
import pytest
import torch
from lab.train.written_runs import write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.sparse import random_array

from sparse_engine import analysis
from sparse_engine.analysis.annealing import Annealed
from sparse_engine.analysis.lesions import LesionCurve, Lesions
from sparse_engine.analysis.null_model import NullModel
from sparse_engine.lab import plot
from sparse_engine.lab.train import compare, read_runs
from sparse_engine.nn import SparseWeight


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def weight(out_features, in_features, nnz, seed=0):
    generator = torch.Generator().manual_seed(seed)
    density = nnz / (out_features * in_features)
    return SparseWeight.erdos_renyi(out_features, in_features, density=density, generator=generator)


@pytest.mark.parametrize(
    ("shape", "bins"), [((7, 11), 512), ((20, 30), 10), ((21, 30), 10), ((40, 3), 8)]
)
def test_a_weight_is_summed_in_equal_squares(axes, shape, bins):
    drawn = weight(*shape, shape[0] * shape[1] // 2)
    plot.adjacency(drawn, axes, bins=bins)
    side = -(-max(shape) // bins)
    dense = drawn.to_dense().detach().numpy()
    padded = np.pad(dense, [(0, -size % side) for size in shape])
    height, width = (size // side for size in padded.shape)
    expected = padded.reshape(height, side, width, side).sum((1, 3))
    np.testing.assert_allclose(axes.images[0].get_array().data, expected, atol=1e-5)
    assert max(height, width) <= bins
    assert axes.images[0].get_extent() == [0, width * side, height * side, 0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source unit", "target unit")
    norm = axes.images[0].norm
    assert norm.vcenter == 0 and norm.vmin == -norm.vmax < 0


def test_memory_does_not_grow_with_the_cells(axes):
    """A matrix of these units would take 80 GB."""
    plot.adjacency(weight(100_000, 100_000, 5_000), axes)
    assert max(axes.images[0].get_array().data.shape) <= 512


ENTRIES = [
    {"step": 10, "loss": 1.0, "metric": 2.0, "nnz": 5},
    {"step": 20, "loss": 0.5, "metric": 0.25, "nnz": 5},
    {"step": 30, "loss": 0.1, "metric": 0.5, "nnz": 5},
]


def test_curve_shows_loss_and_validation(axes):
    assert plot.learning_curve(ENTRIES, axes) is axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["training loss"].get_xydata().tolist() == [[10, 1.0], [20, 0.5], [30, 0.1]]
    assert lines["validation"].get_xydata().tolist() == [[10, 2.0], [20, 0.25], [30, 0.5]]
    assert axes.get_yscale() == "log"
    assert "best 2.50e-01" in [text.get_text() for text in axes.texts]


def test_picture_needs_no_pyplot_and_no_display(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delenv("DISPLAY", raising=False)
    with plot.picture(tmp_path / "one.png", size=(3, 2)) as axes:
        assert isinstance(axes, Axes)
        plot.adjacency(weight(30, 30, 90), axes)
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (360, 240)


RECORDS = [
    {"step": 10, "weight": "a", "density": 0.5, "pooled": 0.5, "class_mean": 0.4},
    {"step": 10, "weight": "b", "density": 0.2},
    {"step": 20, "weight": "a", "density": 0.4, "pooled": None, "class_mean": 0.5},
    {"step": 30, "weight": "a", "density": 0.3, "pooled": 0.8, "class_mean": 0.6},
    {"step": 30, "weight": "c", "density": 0.2, "pooled": 0.1, "class_mean": 0.2},
]


def test_balance_is_a_line_for_each_weight(axes):
    assert plot.balance(RECORDS, axes) is axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["a"], [[10, 0.5], [20, np.nan], [30, 0.8]])
    np.testing.assert_array_equal(lines["c"], [[30, 0.1]])
    assert lines.keys() == {"a", "c"} and not axes.patches
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "training step",
        "share of balanced semicycles",
    )


def by_chance(low, high):
    samples = np.append(np.linspace(low, high, 201), np.nan)
    names = ("class_mean", "pooled", "triad_level")
    return NullModel(dict.fromkeys(names, 0.5), dict.fromkeys(names, samples))


def test_balance_against_density_with_what_is_by_chance(axes):
    null = by_chance(0.4, 0.6)
    plot.balance(RECORDS[:4], axes, along="density", statistic="class_mean", null=null)
    (line,), (band,) = axes.lines, axes.patches
    assert line.get_xydata().tolist() == [[0.5, 0.4], [0.4, 0.5], [0.3, 0.6]]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.405, 0.595))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["95 % by chance", "a"]


def test_balance_of_records_with_bands_of_their_own(axes):
    records = [
        {**record, "null": by_chance(0, 0.2 * k).bands()} if record["weight"] == "a" else record
        for k, record in enumerate(RECORDS, 1)
    ]
    plot.balance(records, axes)
    (band,) = axes.collections  # only the weight a has bands
    corners = band.get_paths()[0].vertices
    ends = {x: sorted({y for at, y in corners.tolist() if at == x}) for x in (10, 20, 30)}
    for step, end in {10: (0.005, 0.195), 20: (0.015, 0.585), 30: (0.02, 0.78)}.items():
        assert ends[step] == pytest.approx(end)


def test_lesions_are_means_with_bands(axes):
    metric = np.array([[1.0, 2.0, 5.0], [1.0, 4.0, 5.0]])
    curve = LesionCurve(np.array([[0, 3, 6], [0, 3, 5]]), metric)
    plot.lesion_curves(Lesions(1.0, {"balanced": curve, "random links": curve}), axes)
    balanced, random, intact = axes.lines
    assert balanced.get_xydata().tolist() == [[0, 1], [3, 3], [5.5, 5]]
    assert (balanced.get_label(), random.get_label()) == ("balanced", "random links")
    assert set(intact.get_ydata()) == {1.0} and axes.get_yscale() == "linear"
    low, high = curve.interval()
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert all([3.0, end] in corners for end in (low[1], high[1]))


def test_annealing_shows_balance_target_and_acceptance(axes):
    balance, accepted = np.linspace(0.5, 0.75, 101), np.linspace(1, 0, 100)
    found = Annealed(None, 0.75, balance, np.geomspace(10, 1, 100), accepted)
    plot.annealing_curve(found, axes)
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["balance"], balance[1:])
    assert set(lines["target"]) == {0.75}
    shown = lines["accepted proposals"]
    assert len(shown) == 40 and np.mean(shown[:20]) > 0.7 > 0.3 > np.mean(shown[20:])
    assert axes.get_xscale() == "log" and axes.xaxis_inverted()


def test_distances_are_a_labelled_heat_map(axes):
    matrix = np.array([[0.0, 0.25, 1.0], [0.25, 0.0, 0.5], [1.0, 0.5, 0.0]])
    plot.distances(matrix, axes, labels=["a", "b", "c"])
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)
    assert axes.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in axes.texts] == [f"{x:.2f}" for x in matrix.ravel()]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    for refused in ((np.zeros((2, 3)), None), (np.zeros((2, 2)), ["a"])):
        with pytest.raises(ValueError, match="matrix, found shape"):
            plot.distances(refused[0], axes, labels=refused[1])


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


def test_lines_are_means_and_bands_go_from_least_to_greatest(axes, tmp_path):
    metrics = {"set": [[0.1, 0.5, 0.6], [0.3, 0.4, 0.8]], "rigl": [[0.2, 0.3, 0.4]]}
    for method, lines in metrics.items():
        for seed, line in enumerate(lines):
            write(tmp_path / method / str(seed), line, line, method=method, seed=seed)
    compared = compare(read_runs([tmp_path / "set", tmp_path / "rigl"]))
    assert plot.comparison(compared, axes) is axes
    for line, values in zip(axes.lines, metrics.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.mean(values, 0))
        assert list(line.get_xdata()) == [10, 20, 30]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices
    for step, least, greatest in zip((10, 20, 30), *np.sort(metrics["set"], 0), strict=True):
        there = heights[heights[:, 0] == step, 1]
        assert (there.min(), there.max()) == pytest.approx((least, greatest))
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["set (n = 2)", "rigl (n = 1)"]
    assert axes.get_ylabel() == "validation accuracy" and axes.get_yscale() == "linear"
