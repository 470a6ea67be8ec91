"""Structure of a graph: degrees, weights, and feed-forward loops by their signs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from sparse_engine.lab.plot.picture import ABOVE, BLUE, GREY, RED, style

if TYPE_CHECKING:
    from sparse_engine.analysis.distributions import DegreeDistribution, WeightDistribution
    from sparse_engine.analysis.null_model import NullModel


def degrees(distribution: DegreeDistribution, axes: Axes, *, log: bool | None = None) -> Axes:
    """Draw :func:`sparse_engine.analysis.degree_distribution`: links in and out of a node.

    By default both axes are logarithmic, which hides nodes without links, where the largest degree
    is more than ten times the mean.
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
    return style(axes, "links of a node", "nodes", grid=False, legend={})


def weights(distribution: WeightDistribution, axes: Axes) -> Axes:
    """Draw :func:`sparse_engine.analysis.weight_distribution`: all weights, and by balance."""
    edges, every, balanced, unbalanced = distribution
    axes.stairs(every, edges, fill=True, color=GREY, alpha=0.4, label="all links")
    axes.stairs(balanced, edges, color=BLUE, lw=1.4, label="in balanced semicycles")
    axes.stairs(unbalanced, edges, color=RED, lw=1.4, label="in unbalanced ones")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    return style(axes, "weight", "links", grid=False, legend=ABOVE)


def loops(counts: Mapping[str, int], axes: Axes, *, null: NullModel | None = None) -> Axes:
    """Draw a bar for each sign pattern of the loop a→b→c, a→c, the balanced ones first.

    Args:
        counts: result of :func:`sparse_engine.analysis.feed_forward_loops`.
        axes: Axes to draw on.
        null: null model of the same graph; marks show its mean, and bars its middle 95 %.
    """
    signs = {pattern: prod(1 if sign == "+" else -1 for sign in pattern) for pattern in counts}
    order = sorted(counts, key=lambda pattern: -signs[pattern])
    for sign, colour, label in ((1, BLUE, "balanced"), (-1, RED, "unbalanced")):
        at = [k for k, pattern in enumerate(order) if signs[pattern] == sign]
        axes.bar(at, [counts[order[k]] for k in at], 0.7, color=colour, label=label)
    if null is not None:
        none = np.zeros(1)
        samples = [null.samples.get(f"030T:{pattern}", none) for pattern in order]
        mean = [x.mean() for x in samples]
        low, high = np.array([np.quantile(x, (0.025, 0.975)) for x in samples]).T
        band = np.abs([mean - low, high - mean])
        options: dict[str, Any] = {
            "fmt": "o",
            "ms": 4,
            "color": "black",
            "capsize": 3,
            "label": "by chance",
        }
        axes.errorbar(range(len(order)), mean, band, **options)
    shown = [pattern.replace("-", "−") for pattern in order]
    axes.set_xticks(range(len(order)), shown, family="monospace")
    label = "signs of a→b, b→c, a→c"
    return style(axes, label, "feed-forward loops", grid=False, legend=ABOVE)
