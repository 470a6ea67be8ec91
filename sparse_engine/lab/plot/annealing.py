"""Course of an annealing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

if TYPE_CHECKING:
    from sparse_engine.analysis.annealing import Annealed


# Number of points of the line of accepted proposals; one temperature may have only ten proposals.
ACCEPTED_POINTS = 40


def annealing_curve(annealed: Annealed, axes: Axes) -> Axes:
    """Draw the balance and the fraction of accepted proposals while the temperature falls.

    Args:
        annealed: result of :func:`sparse_engine.analysis.anneal`.
        axes: Axes to draw on.
    """
    temperatures = annealed.temperatures
    points = min(ACCEPTED_POINTS, len(temperatures))
    x, accepted = (
        [part.mean() for part in np.array_split(each, points)]
        for each in (temperatures, annealed.accepted)
    )
    axes.plot(x, accepted, color="#9aa5b1", lw=1.2, label="accepted proposals")
    axes.axhline(annealed.target, color="#5c6670", lw=0.8, ls=":", label="target")
    axes.plot(temperatures, annealed.balance[1:], color="#d1495b", lw=1.6, label="balance")
    axes.set_xscale("log")
    axes.margins(x=0.02)
    axes.invert_xaxis()
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("temperature, in semicycles")
    axes.set_ylabel("fraction")
    axes.grid(True, which="major", color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes
