"""Learning curve: loss and validation metric along training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

DRAWN = ("loss", "metric")


def learning_curve(
    entries: Sequence[dict],
    axes: Axes,
    *,
    metric: str = "error",
    higher_is_better: bool = False,
) -> Axes:
    """Draw the ``metric`` of metrics entries over their ``step``.

    An error is drawn on a log scale with the ``loss`` beside it; a metric of which more is better
    alone, on a linear scale.

    Args:
        entries: entries from :func:`sparse_engine.lab.train.read_metrics`; those without both
            numbers are ignored.
        axes: Axes to draw on.
        metric: name of the metric.
        higher_is_better: whether a greater metric is a better one.
    """
    entries = [e for e in entries if all(isinstance(e.get(n), int | float) for n in DRAWN)]
    steps = [entry["step"] for entry in entries]
    values = [entry["metric"] for entry in entries]
    if not higher_is_better:
        axes.plot(steps, [e["loss"] for e in entries], color="#9aa5b1", lw=1, label="training loss")
        axes.set_yscale("log")
    axes.plot(steps, values, color="#d1495b", lw=1.6, label="validation")
    if values:
        best = (max if higher_is_better else min)(range(len(values)), key=values.__getitem__)
        axes.annotate(
            f"best {values[best]:.4f}" if higher_is_better else f"best {values[best]:.2e}",
            (steps[best], values[best]),
            xytext=(0, 6 if higher_is_better else -14),
            textcoords="offset points",
            ha="right",
            va="bottom" if higher_is_better else "top",
            fontsize=9,
            color="#d1495b",
        )
        axes.plot(steps[best], values[best], "o", ms=4, color="#d1495b")
    axes.margins(x=0.01, y=0.12)
    axes.set_xlabel("training step")
    axes.set_ylabel(metric)
    axes.grid(True, which="major", color="#e6e8eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes
