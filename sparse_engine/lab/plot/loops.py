"""Feed-forward loops by the signs of their links."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from sparse_engine.lab.plot.histograms import BLUE, RED

if TYPE_CHECKING:
    from sparse_engine.analysis.null_model import NullModel


def loops(counts: Mapping[str, int], axes: Axes, *, null: NullModel | None = None) -> Axes:
    """Draw a bar for each sign pattern of the loop a→b→c, a→c, the balanced ones first.

    Args:
        counts: result of :func:`sparse_engine.analysis.feed_forward_loops`.
        axes: Axes to draw on.
        null: null model of the same graph; marks show its mean, and bars its middle 95 %.
    """
    signs = {pattern: prod(1 if sign == "+" else -1 for sign in pattern) for pattern in counts}
    order = sorted(counts, key=lambda pattern: -signs[pattern])
    shown = [pattern.replace("-", "−") for pattern in order]
    for sign, colour, label in ((1, BLUE, "balanced"), (-1, RED, "unbalanced")):
        at = [k for k, pattern in enumerate(order) if signs[pattern] == sign]
        axes.bar(at, [counts[order[k]] for k in at], 0.7, color=colour, label=label)
    if null is not None:
        none = np.zeros(1)
        samples = [null.samples.get(f"030T:{pattern}", none) for pattern in order]
        mean = [x.mean() for x in samples]
        low, high = np.array([np.quantile(x, (0.025, 0.975)) for x in samples]).T
        band = np.abs([mean - low, high - mean])
        axes.errorbar(
            range(len(order)),
            mean,
            band,
            fmt="o",
            ms=4,
            color="black",
            capsize=3,
            label="by chance",
        )
    axes.set_xticks(range(len(order)), shown, family="monospace")
    axes.set_xlabel("signs of a→b, b→c, a→c")
    axes.set_ylabel("feed-forward loops")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return axes
