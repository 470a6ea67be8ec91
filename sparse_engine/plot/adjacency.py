"""Where the links of a weight are, and their signs."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from sparse_engine.nn import SparseWeight

MOST_BINS = 512


def adjacency(weight: SparseWeight, axes: Axes, *, bins: int = MOST_BINS) -> Axes:
    """Draws the links: blue where negative, red where positive, paler where weaker.

    Of a weight with more than ``bins`` rows or columns, squares of cells are summed into one pixel
    each, so that the picture of a large weight costs no more memory than that of a small one.

    Args:
        weight: whose links are drawn; rows are targets, columns sources.
        axes: to draw on.
        bins: the most pixels a side.
    """
    out_features, in_features = weight.shape
    # Pixels of equally many cells: unequal ones would show as a lattice that is not in the weight.
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
    label = "weight" if side == 1 else f"sum of weights in {side} x {side} cells"
    axes.figure.colorbar(drawn, ax=axes, shrink=0.85, label=label, extend="both")
    axes.set_xlabel("source unit")
    axes.set_ylabel("target unit")
    return axes
