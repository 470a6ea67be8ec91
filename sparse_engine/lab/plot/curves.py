"""Curves along training, along an annealing, of a lesion experiment, and of structural balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from sparse_engine.lab.plot.picture import ABOVE, BLUE, DARK, GREY, PALE, RED, style

if TYPE_CHECKING:
    from sparse_engine.analysis.annealing import Annealed
    from sparse_engine.analysis.lesions import Lesions
    from sparse_engine.lab.train import Comparison

#: Points of the line of accepted proposals; one temperature may have only ten proposals.
ACCEPTED_POINTS = 40
STYLES = {
    "unbalanced": (RED, "-"),
    "balanced": (BLUE, "-"),
    "both": (DARK, "-"),
    "random links": (GREY, "--"),
}
#: Above this ratio of the largest to the smallest metric, the scale is logarithmic.
WIDE = 20


def learning_curve(
    entries: Sequence[dict], axes: Axes, *, metric: str = "error", higher_is_better: bool = False
) -> Axes:
    """Draw the metric of entries of metrics.jsonl over their steps.

    An error is drawn on a log scale with the loss beside it; a metric of which more is better
    alone, on a linear scale. Entries without both numbers are ignored.
    """
    numbers = ("loss", "metric")
    entries = [e for e in entries if all(isinstance(e.get(n), int | float) for n in numbers)]
    steps = [entry["step"] for entry in entries]
    values = [entry["metric"] for entry in entries]
    if not higher_is_better:
        axes.plot(steps, [e["loss"] for e in entries], color=GREY, lw=1, label="training loss")
        axes.set_yscale("log")
    axes.plot(steps, values, color=RED, lw=1.6, label="validation")
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
            color=RED,
        )
        axes.plot(steps[best], values[best], "o", ms=4, color=RED)
    axes.margins(x=0.01, y=0.12)
    return style(axes, "training step", metric, legend={})


def comparison(compared: Comparison, axes: Axes) -> Axes:
    """Draw the validation metric of each group along training, with bands over their seeds.

    A line is the mean over the seeds of a group, its band goes from the least to the greatest. An
    error is drawn on a log scale, a metric of which more is better on a linear one.

    Example:
        >>> with plot.picture("compare.png") as axes:
        ...     plot.comparison(compare(read_runs([Path("runs/sweep")])), axes)
    """
    for group in compared.groups:
        steps, metrics = group.curves()
        label = f"{group.name} (n = {len(metrics)})"
        (line,) = axes.plot(steps, metrics.mean(0), lw=1.6, label=label)
        if len(metrics) > 1:
            ends = metrics.min(0), metrics.max(0)
            axes.fill_between(steps, *ends, color=line.get_color(), alpha=0.18, lw=0)
    everything = np.concatenate([group.curves()[1].ravel() for group in compared.groups])
    if not compared.task.higher_is_better and everything.min() > 0:
        axes.set_yscale("log")
    axes.margins(x=0.01, y=0.08)
    name = f"{compared.task.splits[0]} {compared.task.metric}"
    return style(axes, "training step", name, legend={"fontsize": 8})


def annealing_curve(annealed: Annealed, axes: Axes) -> Axes:
    """Draw the balance and the fraction of accepted proposals while the temperature falls."""
    temperatures = annealed.temperatures
    points = min(ACCEPTED_POINTS, len(temperatures))
    x, accepted = (
        [part.mean() for part in np.array_split(each, points)]
        for each in (temperatures, annealed.accepted)
    )
    axes.plot(x, accepted, color=GREY, lw=1.2, label="accepted proposals")
    axes.axhline(annealed.target, color=DARK, lw=0.8, ls=":", label="target")
    axes.plot(temperatures, annealed.balance[1:], color=RED, lw=1.6, label="balance")
    axes.set_xscale("log")
    axes.margins(x=0.02)
    axes.invert_xaxis()
    axes.set_ylim(-0.03, 1.03)
    return style(axes, "temperature, in semicycles", "fraction", legend={})


def lesion_curves(lesions: Lesions, axes: Axes, *, level: float = 0.95) -> Axes:
    """Draw the mean metric over the number of removed links, with its confidence interval."""
    means = []
    for name, curve in lesions.curves.items():
        colour, dashes = STYLES[name]
        links, (low, high) = curve.links.mean(0), curve.interval(level)
        axes.fill_between(links, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(links, curve.mean, dashes, color=colour, lw=1.6, marker="o", ms=3, label=name)
        means += curve.mean.tolist()
    axes.axhline(lesions.intact, color=DARK, lw=0.8, ls=":")
    if min(means) > 0 and max(means) > WIDE * min(means):
        axes.set_yscale("log")
    axes.margins(x=0.02, y=0.08)
    legend = {"frameon": True, "edgecolor": "none", "title": f"mean and {level:.0%} interval"}
    return style(axes, "links removed", "metric", legend=legend)


if TYPE_CHECKING:
    from sparse_engine.analysis.null_model import NullModel


STATISTICS = {
    "pooled": "share of balanced semicycles",
    "class_mean": "share of balanced semicycles, mean of the classes",
    "triad_level": "share of balanced triads",
}
LABELS = {"step": "training step", "nnz": "links"}
CHANCE = "95 % by chance"
#: What :meth:`NullModel.bands` returns.
Bands = Mapping[str, Mapping[str, float | None]]


def balance(
    records: Sequence[Mapping[str, Any]],
    axes: Axes,
    *,
    along: str = "step",
    statistic: str = "pooled",
    null: NullModel | Sequence[NullModel] | None = None,
) -> Axes:
    """Draw the balance of graphs along training or another quantity, one line for each weight.

    Args:
        records: records of a :class:`~sparse_engine.topology.Tracker` with the measure
            :class:`~sparse_engine.analysis.Balance`, such as ``read_metrics`` reads from
            topology.jsonl; or dictionaries ``structural_balance(w).to_dict() | {"density": d}`` of
            any graphs. Records without the statistic are ignored.
        axes: Axes to draw on.
        along: entry of the records for the horizontal axis: "step", "density", "rewirings", ...
        statistic: "pooled", "class_mean" or "triad_level".
        null: null model whose middle 95 % of the samples are drawn as a band; one for all records,
            or one for each record. By default the bands of the records themselves are drawn, if
            they were made with ``Balance(shuffles=...)``.

    Example:
        >>> reports = {d: structural_balance(w) for d, w in by_density.items()}
        >>> records = [report.to_dict() | {"density": d} for d, report in reports.items()]
        >>> plot.balance(records, axes, along="density")
    """
    if statistic not in STATISTICS:
        raise ValueError(f"expected a statistic among {[*STATISTICS]}, found {statistic!r}")
    if isinstance(null, Sequence) and len(null) != len(records):
        raise ValueError(f"expected {len(records)} null models, found {len(null)}")
    kept = [k for k, record in enumerate(records) if statistic in record]
    if not kept:
        raise ValueError(f"expected records with {statistic!r}, found none among {len(records)}")
    if isinstance(null, Sequence):
        _draw_bands(axes, [(records[k][along], null[k].bands()) for k in kept], statistic)
    elif null is not None:
        axes.axhspan(*_band(null.bands(), statistic), color=PALE, lw=0, label=CHANCE)
    else:
        for name in dict.fromkeys(records[k].get("weight", "") for k in kept):
            own = [records[k] for k in kept if records[k].get("weight", "") == name]
            drawn = [(record[along], record["null"]) for record in own if "null" in record]
            _draw_bands(axes, drawn, statistic)
    lines: dict[str, list[tuple[Any, float]]] = {}
    for record in (records[k] for k in kept):
        value = np.nan if record[statistic] is None else record[statistic]
        lines.setdefault(record.get("weight", ""), []).append((record[along], value))
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), lw=1.6, marker="o", ms=3, label=name or "balance")
    axes.margins(x=0.02, y=0.12)
    several = len(axes.get_legend_handles_labels()[0]) > 1
    names = LABELS.get(along, along), STATISTICS[statistic]
    return style(axes, *names, legend=ABOVE if several else None)


def _draw_bands(axes: Axes, bands: Sequence[tuple[Any, Bands]], statistic: str) -> None:
    """Draw the band of each place on the horizontal axis, joined to one."""
    if bands:
        ends = np.transpose([_band(each, statistic) for _, each in bands])
        axes.fill_between([x for x, _ in bands], *ends, color=PALE, lw=0, label=CHANCE)


def _band(bands: Bands, statistic: str) -> tuple[float, float]:
    low, high = (bands[statistic][end] for end in ("low", "high"))
    return (np.nan if low is None else low), (np.nan if high is None else high)
