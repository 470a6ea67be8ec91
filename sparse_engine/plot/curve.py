"""Learning curve: loss and validation metric along training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

DRAWN = ("loss", "metric")


def learning_curve(entries: Sequence[dict], axes: Axes) -> Axes:
    """Draw the ``loss`` and ``metric`` of metrics entries over their ``step``, on a log scale.

    Args:
        entries: entries from :func:`sparse_engine.train.read_metrics`; those without both numbers
            are ignored.
        axes: Axes to draw on.
    """
    entries = [e for e in entries if all(isinstance(e.get(n), int | float) for n in DRAWN)]
    steps = [entry["step"] for entry in entries]
    axes.plot(steps, [e["loss"] for e in entries], color="#9aa5b1", lw=1, label="training loss")
    metric = [entry["metric"] for entry in entries]
    axes.plot(steps, metric, color="#d1495b", lw=1.6, label="validation")
    if metric:
        best = min(range(len(metric)), key=metric.__getitem__)
        axes.annotate(
            f"best {metric[best]:.2e}",
            (steps[best], metric[best]),
            xytext=(0, -14),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=9,
            color="#d1495b",
        )
        axes.plot(steps[best], metric[best], "o", ms=4, color="#d1495b")
    axes.set_yscale("log")
    axes.margins(x=0.01, y=0.12)
    axes.set_xlabel("training step")
    axes.set_ylabel("error")
    axes.grid(True, which="major", color="#e6e8eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes
