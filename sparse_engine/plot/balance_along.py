"""Structural balance along training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

LABELS = {"step": "training step", "nnz": "links", "class_mean": "balance, mean of the classes"}


def balance_along(
    records: Sequence[dict],
    axes: Axes,
    *,
    along: str = "step",
    statistic: str = "pooled",
    null: np.ndarray | None = None,
) -> Axes:
    """Draws the balance in a tracker's records, a line for each weight.

    Args:
        records: of a :class:`~sparse_engine.topology.Tracker` with the measure
            :class:`~sparse_engine.topology.Balance`, such as ``read_metrics`` finds in
            topology.jsonl; those without balance are passed over.
        axes: to draw on.
        along: the record's entry that is the horizontal axis: "step", "density", "rewirings", ...
        statistic: the entry that is drawn: "pooled", "class_mean" or "triad_level".
        null: what it is by chance, float64 ``[samples]``; 95 % of them become a band.

    Raises:
        ValueError: no record has that statistic.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        if statistic in record:
            value = record[statistic]
            point = record[along], np.nan if value is None else value
            lines.setdefault(record["weight"], []).append(point)
    if not lines:
        raise ValueError(f"expected records with {statistic!r}, found none among {len(records)}")
    if null is not None:
        low, high = np.nanquantile(null, [0.025, 0.975])
        axes.axhspan(low, high, color="#e6e8eb", lw=0, label="95 % by chance")
    for name, points in lines.items():
        x, y = zip(*points, strict=True)
        axes.plot(x, y, lw=1.6, marker="o", ms=3, label=name or "balance")
    axes.margins(x=0.02, y=0.12)
    axes.set_xlabel(LABELS.get(along, along))
    axes.set_ylabel(LABELS.get(statistic, f"balance, {statistic.replace('_', ' ')}"))
    axes.grid(True, color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if null is not None or len(lines) > 1:
        axes.legend(frameon=False)
    return axes
