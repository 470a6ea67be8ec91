"""Structural balance along training or another quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from sparse_engine.lab.plot.picture import ABOVE, PALE, style

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
