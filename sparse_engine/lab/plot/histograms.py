"""Distributions of degrees and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

if TYPE_CHECKING:
    from sparse_engine.analysis.distributions import DegreeDistribution, WeightDistribution


BLUE, RED, GREY = "#2f6690", "#d1495b", "#9aa5b1"


def degrees(distribution: DegreeDistribution, axes: Axes, *, log: bool | None = None) -> Axes:
    """Draw the distributions of the numbers of links in and out of a node.

    Args:
        distribution: result of :func:`sparse_engine.analysis.degree_distribution`.
        axes: Axes to draw on.
        log: whether both axes are logarithmic, which hides nodes without links; by default they are
            where the largest degree is more than ten times the mean.
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
    axes.set_xlabel("links of a node")
    axes.set_ylabel("nodes")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes


def weights(distribution: WeightDistribution, axes: Axes) -> Axes:
    """Draw the values of all links, and of links in balanced and in unbalanced semicycles.

    Args:
        distribution: result of :func:`sparse_engine.analysis.weight_distribution`.
        axes: Axes to draw on.
    """
    edges, every, balanced, unbalanced = distribution
    axes.stairs(every, edges, fill=True, color=GREY, alpha=0.4, label="all links")
    axes.stairs(balanced, edges, color=BLUE, lw=1.4, label="in balanced semicycles")
    axes.stairs(unbalanced, edges, color=RED, lw=1.4, label="in unbalanced ones")
    axes.set_xlabel("weight")
    axes.set_ylabel("links")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return axes
