"""Curves of groups of runs."""

import numpy as np
import pytest
from lab.train.written_runs import write

from sparse_engine.lab import plot
from sparse_engine.lab.train import compare, read_runs


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


def test_errors_are_on_a_log_scale(axes, tmp_path):
    write(tmp_path / "run", [0.1, 0.01, 0.001], [0] * 3, task="adding")
    plot.comparison(compare(read_runs([tmp_path])), axes)
    assert axes.get_yscale() == "log"
