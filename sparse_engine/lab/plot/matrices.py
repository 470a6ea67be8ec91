"""Matrices as colours: the links of a weight, and distances between networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

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
