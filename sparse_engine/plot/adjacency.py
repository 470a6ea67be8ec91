"""Where the links of a weight are, and their signs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from sparse_engine.nn import SparseWeight

MOST_BINS = 512


def adjacency(weight: SparseWeight, axes: Axes, *, bins: int = MOST_BINS) -> Axes:
    """Draws the links: blue where negative, red where positive, paler where weaker.

    A weight of more than ``bins`` rows or columns is summed into that many bins a side, so that
    the picture of a large weight costs no more memory than that of a small one.

    Args:
        weight: whose links are drawn; rows are targets, columns sources.
        axes: to draw on.
        bins: the most pixels a side.
    """
    out_features, in_features = weight.shape
    height, width = min(bins, out_features), min(bins, in_features)
    rows = weight.rows().cpu().numpy() * height // max(1, out_features)
    cols = weight.col_indices.cpu().numpy().astype(np.int64) * width // max(1, in_features)
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
        extent=(0, in_features, out_features, 0),
        interpolation="nearest",
    )
    axes.figure.colorbar(drawn, ax=axes, shrink=0.85, label="weight", extend="both")
    axes.set_xlabel("source unit")
    axes.set_ylabel("target unit")
    return axes
