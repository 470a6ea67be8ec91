"""Learning curves of groups of runs, with bands over their seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

if TYPE_CHECKING:
    from sparse_engine.lab.train import Comparison


def comparison(compared: Comparison, axes: Axes) -> Axes:
    """Draw the validation metric of each group along training.

    A line is the mean over the seeds of a group, its band goes from the least to the greatest. An
    error is drawn on a log scale, a metric of which more is better on a linear one.

    Args:
        compared: the groups.
        axes: Axes to draw on.

    Example:
        >>> with plot.picture("compare.png") as axes:
        ...     plot.comparison(compare(read_runs([Path("runs/sweep")])), axes)
    """
    for group in compared.groups:
        steps, metrics = group.curves()
        (line,) = axes.plot(
            steps, metrics.mean(0), lw=1.6, label=f"{group.name} (n = {len(metrics)})"
        )
        if len(metrics) > 1:
            ends = metrics.min(0), metrics.max(0)
            axes.fill_between(steps, *ends, color=line.get_color(), alpha=0.18, lw=0)
    everything = np.concatenate([group.curves()[1].ravel() for group in compared.groups])
    if not compared.task.higher_is_better and everything.min() > 0:
        axes.set_yscale("log")
    axes.margins(x=0.01, y=0.08)
    axes.set_xlabel("training step")
    axes.set_ylabel(f"{compared.task.splits[0]} {compared.task.metric}")
    axes.grid(True, which="major", color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return axes
