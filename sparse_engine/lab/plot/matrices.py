"""Links and distances as colours; degrees, weights and loops of a graph; wirings compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from sparse_engine.lab.plot.picture import ABOVE, BLUE, GREY, RED, style
from sparse_engine.nn import SparseWeight

MOST_BINS, MOST_NUMBERED = 512, 12


def adjacency(weight: SparseWeight, axes: Axes, *, bins: int = MOST_BINS) -> Axes:
    """Draw the links of a weight: blue if negative, red if positive, paler if weaker.

    Rows are targets, columns sources. Where a weight has more than ``bins`` of either, each pixel
    is the sum over a square of positions, so that memory is bounded.
    """
    out_features, in_features = weight.shape
    # All pixels have equally many positions: unequal ones would show a lattice.
    side = max(1, math.ceil(max(out_features, in_features) / bins))
    height, width = math.ceil(out_features / side), math.ceil(in_features / side)
    rows = weight.rows().cpu().numpy() // side
    cols = weight.col_indices.cpu().numpy().astype(np.int64) // side
    image = np.bincount(
        rows * width + cols,
        weights=weight.values.detach().cpu().double().numpy(),
        minlength=height * width,
    ).reshape(height, width)
    strengths = np.abs(image[image != 0])
    most = float(np.quantile(strengths, 0.98)) if strengths.size else 1.0
    drawn = axes.imshow(
        image,
        cmap="RdBu_r",
        norm=TwoSlopeNorm(0.0, -most, most),
        extent=(0, width * side, height * side, 0),
        interpolation="nearest",
    )
    label = "weight" if side == 1 else f"sum of weights in {side} x {side} positions"
    axes.figure.colorbar(drawn, ax=axes, shrink=0.85, label=label, extend="both")
    axes.set_xlabel("source unit")
    axes.set_ylabel("target unit")
    return axes


def distances(matrix: np.ndarray, axes: Axes, *, labels: Sequence[str] = ()) -> Axes:
    """Draw distances in [0, 1] as colours, and as numbers where there are few networks.

    Args:
        matrix: ``[networks, networks]``, one layer of what
            :func:`sparse_engine.analysis.distance_matrix` returns, or the mean of several.
        axes: Axes to draw on.
        labels: the networks' names; their numbers by default.
    """
    matrix = np.asarray(matrix)
    count = len(labels) if labels else len(matrix)
    if matrix.shape != (count, count):
        raise ValueError(f"expected a {count} x {count} matrix, found shape {[*matrix.shape]}")
    drawn = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axes.figure.colorbar(drawn, ax=axes, shrink=0.85, label="topology distance")
    if labels:
        axes.set_xticks(range(count), labels, rotation=45, ha="right")
        axes.set_yticks(range(count), labels)
    if count <= MOST_NUMBERED:
        for (i, j), distance in np.ndenumerate(matrix):
            colour = "black" if distance > 0.6 else "white"
            axes.text(j, i, f"{distance:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xlabel("network")
    axes.set_ylabel("network")
    return axes


if TYPE_CHECKING:
    from sparse_engine.analysis.distributions import DegreeDistribution, WeightDistribution
    from sparse_engine.analysis.null_model import NullModel


def degrees(distribution: DegreeDistribution, axes: Axes, *, log: bool | None = None) -> Axes:
    """Draw :func:`sparse_engine.analysis.degree_distribution`: links in and out of a node.

    By default both axes are logarithmic, which hides nodes without links, where the largest degree
    is more than ten times the mean.
    """
    most = max(map(len, distribution)) - 1
    if log is None:
        into = distribution.into
        log = most > 10 * (np.arange(len(into)) @ into) / max(1, into.sum())
    for counts, colour, label in zip(distribution, (BLUE, RED), ("in", "out"), strict=True):
        degree = np.flatnonzero(counts)
        axes.plot(degree, counts[degree], "o-", ms=3, lw=1, color=colour, label=f"links {label}")
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    return style(axes, "links of a node", "nodes", grid=False, legend={})


def weights(distribution: WeightDistribution, axes: Axes) -> Axes:
    """Draw :func:`sparse_engine.analysis.weight_distribution`: all weights, and by balance."""
    edges, every, balanced, unbalanced = distribution
    axes.stairs(every, edges, fill=True, color=GREY, alpha=0.4, label="all links")
    axes.stairs(balanced, edges, color=BLUE, lw=1.4, label="in balanced semicycles")
    axes.stairs(unbalanced, edges, color=RED, lw=1.4, label="in unbalanced ones")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    return style(axes, "weight", "links", grid=False, legend=ABOVE)


def loops(counts: Mapping[str, int], axes: Axes, *, null: NullModel | None = None) -> Axes:
    """Draw a bar for each sign pattern of the loop a→b→c, a→c, the balanced ones first.

    Args:
        counts: result of :func:`sparse_engine.analysis.feed_forward_loops`.
        axes: Axes to draw on.
        null: null model of the same graph; marks show its mean, and bars its middle 95 %.
    """
    signs = {pattern: prod(1 if sign == "+" else -1 for sign in pattern) for pattern in counts}
    order = sorted(counts, key=lambda pattern: -signs[pattern])
    for sign, colour, label in ((1, BLUE, "balanced"), (-1, RED, "unbalanced")):
        at = [k for k, pattern in enumerate(order) if signs[pattern] == sign]
        axes.bar(at, [counts[order[k]] for k in at], 0.7, color=colour, label=label)
    if null is not None:
        none = np.zeros(1)
        samples = [null.samples.get(f"030T:{pattern}", none) for pattern in order]
        mean = [x.mean() for x in samples]
        low, high = np.array([np.quantile(x, (0.025, 0.975)) for x in samples]).T
        band = np.abs([mean - low, high - mean])
        options: dict[str, Any] = {
            "fmt": "o",
            "ms": 4,
            "color": "black",
            "capsize": 3,
            "label": "by chance",
        }
        axes.errorbar(range(len(order)), mean, band, **options)
    shown = [pattern.replace("-", "−") for pattern in order]
    axes.set_xticks(range(len(order)), shown, family="monospace")
    label = "signs of a→b, b→c, a→c"
    return style(axes, label, "feed-forward loops", grid=False, legend=ABOVE)


if TYPE_CHECKING:
    from sparse_engine.connectome import WiringComparison


def wiring(comparison: WiringComparison, axes: Axes) -> Axes:
    """Draw :func:`sparse_engine.connectome.compare`: a line for each seed, dots for scores.

    Each null has its p-value of the sign-flip test, and all wirings their means.
    """
    names, scores = [*comparison.scores], np.stack([*comparison.scores.values()])
    axes.plot(scores, "o-", color=GREY, lw=0.7, ms=3)
    for place, each in enumerate(scores):
        axes.plot([place - 0.2, place + 0.2], [each.mean()] * 2, color=RED if place else BLUE, lw=2)
    labels = [f"{each.null}\np = {each.p:.3g}" for each in comparison.differences()]
    axes.set_xticks(range(len(names)), [names[0], *labels], fontsize=8)
    return style(axes, "wiring", "score")
