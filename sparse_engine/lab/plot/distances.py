"""Distances between networks, as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

MOST_NUMBERED = 12


def distances(matrix: np.ndarray, axes: Axes, *, labels: Sequence[str] = ()) -> Axes:
    """Draw distances in [0, 1] as colours, and as numbers where there are few networks.

    Args:
        matrix: ``[networks, networks]``, one layer of what
            :func:`sparse_engine.analysis.distance_matrix` returns, or the mean of several.
        axes: Axes to draw on.
        labels: the networks' names; their numbers by default.

    Raises:
        ValueError: not a square matrix, or labels for another number of networks.
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
