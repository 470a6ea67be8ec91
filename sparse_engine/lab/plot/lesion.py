"""Curves of a lesion experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes

if TYPE_CHECKING:
    from sparse_engine.analysis.lesion import Lesions


STYLES = {
    "unbalanced": ("#d1495b", "-"),
    "balanced": ("#2e6f9e", "-"),
    "both": ("#5c6670", "-"),
    "random links": ("#9aa5b1", "--"),
}
# Above this ratio of the largest to the smallest metric, the scale is logarithmic.
WIDE = 20


def lesion_curves(lesions: Lesions, axes: Axes, *, level: float = 0.95) -> Axes:
    """Draw the mean metric over the number of removed links, with its confidence interval.

    Args:
        lesions: result of :func:`sparse_engine.analysis.lesion`.
        axes: Axes to draw on.
        level: confidence level of the intervals, in (0, 1).
    """
    means = []
    for name, curve in lesions.curves.items():
        colour, dashes = STYLES[name]
        links, (low, high) = curve.links.mean(0), curve.interval(level)
        axes.fill_between(links, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(links, curve.mean, dashes, color=colour, lw=1.6, marker="o", ms=3, label=name)
        means += curve.mean.tolist()
    axes.axhline(lesions.intact, color="#5c6670", lw=0.8, ls=":")
    if min(means) > 0 and max(means) > WIDE * min(means):
        axes.set_yscale("log")
    axes.margins(x=0.02, y=0.08)
    axes.set_xlabel("links removed")
    axes.set_ylabel("metric")
    axes.grid(True, color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(edgecolor="none", title=f"mean and {level:.0%} interval")
    return axes
