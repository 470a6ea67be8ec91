"""Scores of a connectome and of its nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from sparse_engine.lab.plot.picture import BLUE, GREY, RED, style

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
