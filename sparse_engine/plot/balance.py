"""Structural balance against what changes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from sparse_engine.analysis import BalanceReport, NullModel
from sparse_engine.plot.histograms import BLUE, GREY

STATISTICS = {
    "pooled": "balanced semicycles",
    "class_mean": "balanced semicycles, mean of the classes",
    "triad_level": "balanced triads",
}


def balance(
    reports: Sequence[BalanceReport],
    axes: Axes,
    *,
    at: Sequence[float],
    statistic: str = "pooled",
    nulls: Sequence[NullModel] | None = None,
    label: str = "training step",
) -> Axes:
    """Draws the balance of a series of graphs, along training or against density.

    Args:
        reports: of :func:`sparse_engine.analysis.structural_balance`.
        axes: to draw on.
        at: the place of each on the horizontal axis.
        statistic: "pooled", "class_mean" or "triad_level".
        nulls: of the same graphs: a band of 2.5 to 97.5 % of their samples.
        label: of the horizontal axis.

    Raises:
        ValueError: another statistic, or not as many places or null models as reports.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"expected a statistic among {[*STATISTICS]}, found {statistic!r}")
    for name, series in (("places", at), ("null models", nulls)):
        if series is not None and len(series) != len(reports):
            raise ValueError(f"expected {len(reports)} {name}, found {len(series)}")
    if nulls is not None:
        samples = [null.samples[statistic] for null in nulls]
        low, high = np.array([np.quantile(x, (0.025, 0.975)) for x in samples]).reshape(-1, 2).T
        axes.fill_between(at, low, high, color=GREY, alpha=0.4, lw=0, label="by chance, 95 %")
    values = [getattr(report, statistic) for report in reports]
    axes.plot(at, values, "o-", ms=4, color=BLUE, label="balance")
    axes.axhline(0.5, color="black", lw=0.8, ls=":")
    axes.set_xlabel(label)
    axes.set_ylabel(STATISTICS[statistic])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes
