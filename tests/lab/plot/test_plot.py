"""Pictures: what is on the axes is what is in the data."""

import sys

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from sparse_engine.analysis.lesion_curve import LesionCurve

from sparse_engine.analysis.annealing import Annealed
from sparse_engine.analysis.lesion import Lesions
from sparse_engine.analysis.null_model import NullModel
from sparse_engine.lab import plot
from sparse_engine.nn import SparseWeight


def weight(out_features, in_features, nnz, seed=0):
    generator = torch.Generator().manual_seed(seed)
    density = nnz / (out_features * in_features)
    return SparseWeight.erdos_renyi(out_features, in_features, density=density, generator=generator)


def image_of(axes):
    (image,) = axes.images
    return image.get_array().data


def test_small_weight_is_drawn_cell_by_cell(axes):
    drawn = weight(7, 11, 30)
    assert plot.adjacency(drawn, axes) is axes
    np.testing.assert_allclose(image_of(axes), drawn.to_dense().detach(), rtol=1e-6)
    assert axes.images[0].get_extent() == [0, 11, 7, 0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source unit", "target unit")
    norm = axes.images[0].norm
    assert norm.vcenter == 0 and norm.vmin == -norm.vmax < 0


@pytest.mark.parametrize(("shape", "bins"), [((20, 30), 10), ((21, 30), 10), ((40, 3), 8)])
def test_large_weight_is_summed_in_equal_squares(axes, shape, bins):
    drawn = weight(*shape, shape[0] * shape[1] // 2)
    plot.adjacency(drawn, axes, bins=bins)
    side = -(-max(shape) // bins)
    dense = drawn.to_dense().detach().numpy()
    padded = np.pad(dense, [(0, -size % side) for size in shape])
    height, width = (size // side for size in padded.shape)
    expected = padded.reshape(height, side, width, side).sum((1, 3))
    np.testing.assert_allclose(image_of(axes), expected, atol=1e-5)
    assert max(height, width) <= bins


def test_memory_does_not_grow_with_the_cells(axes):
    """A matrix of these units would take 80 GB."""
    plot.adjacency(weight(100_000, 100_000, 5_000), axes)
    assert max(image_of(axes).shape) <= 512


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


def test_curve_of_nothing_is_drawn(tmp_path):
    with plot.picture(tmp_path / "curve.png") as axes:
        plot.learning_curve([], axes)
    assert (tmp_path / "curve.png").stat().st_size > 1_000


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


def test_balance_says_what_is_wrong(axes):
    with pytest.raises(ValueError, match="records with 'pooled', found none among 3"):
        plot.balance(ENTRIES, axes)
    with pytest.raises(ValueError, match=r"expected a statistic among .*found 'mean'"):
        plot.balance(RECORDS, axes, statistic="mean")
    with pytest.raises(ValueError, match="expected 5 null models, found 1"):
        plot.balance(RECORDS, axes, null=[by_chance(0, 1)])


def lesions(scale):
    metric = scale * np.array([[1.0, 2.0, 5.0], [1.0, 4.0, 5.0]])
    curve = LesionCurve(np.array([[0, 3, 6], [0, 3, 5]]), metric)
    return Lesions(scale * 1.0, {name: curve for name in ("balanced", "random links")})


def test_lesions_are_means_with_bands(axes):
    assert plot.lesion_curves(lesions(1.0), axes) is axes
    balanced, random, intact = axes.lines
    assert balanced.get_xydata().tolist() == [[0, 1], [3, 3], [5.5, 5]]
    assert (balanced.get_label(), random.get_label()) == ("balanced", "random links")
    assert set(intact.get_ydata()) == {1.0}
    assert axes.get_yscale() == "linear"
    low, high = lesions(1.0).curves["balanced"].interval()
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert all([3.0, end] in corners for end in (low[1], high[1]))


@pytest.mark.parametrize(("last", "scale"), [(30.0, "log"), (-30.0, "linear"), (2.0, "linear")])
def test_lesions_have_a_logarithmic_scale_where_they_need_it(axes, last, scale):
    curve = LesionCurve(np.array([[0, 3]]), np.array([[1.0, last]]))
    plot.lesion_curves(Lesions(1.0, {"both": curve}), axes)
    assert axes.get_yscale() == scale


def test_annealing_shows_balance_target_and_acceptance(axes):
    found = Annealed(
        graph=None,
        target=0.75,
        balance=np.linspace(0.5, 0.75, 101),
        temperatures=np.geomspace(10, 1, 100),
        accepted=np.linspace(1, 0, 100),
    )
    assert plot.annealing_curve(found, axes) is axes
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["balance"].get_ydata(), found.balance[1:])
    assert set(lines["target"].get_ydata()) == {0.75}
    accepted = lines["accepted proposals"].get_ydata()
    assert len(accepted) == 40 and np.mean(accepted[:20]) > 0.7 > 0.3 > np.mean(accepted[20:])
    assert axes.get_xscale() == "log" and axes.xaxis_inverted()
