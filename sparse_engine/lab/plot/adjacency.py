"""Adjacency matrix of a weight."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from sparse_engine.nn import SparseWeight

MOST_BINS = 512


def adjacency(weight: SparseWeight, axes: Axes, *, bins: int = MOST_BINS) -> Axes:
    """Draw the links of a weight: blue if negative, red if positive, paler if weaker.

    Where a weight has more than ``bins`` rows or columns, each pixel is the sum over a square of
    positions, so that memory is bounded.

    Args:
        weight: the weight; rows are targets, columns sources.
        axes: Axes to draw on.
        bins: greatest number of pixels on each side.
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
