"""Published experiments: what is measured, and the report of ours beside theirs."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sparse_engine import machine


@dataclass(frozen=True)
class Row:
    """Quantity of one variant of an experiment, measured once for each seed.

    Attributes:
        variant: name of the variant, such as "pruning".
        quantity: name of the quantity, such as "test accuracy".
        values: our values, one for each seed.
        published: the published value, or None.
        higher_is_better: whether a greater value is a better one; None for neither.
        seconds: time of each run; empty for a further quantity of the same runs.
        note: what a reader has to know, in a few words.
    """

    variant: str
    quantity: str
    values: Sequence[float]
    published: float | None = None
    higher_is_better: bool | None = None
    seconds: Sequence[float] = ()
    note: str = ""

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation over seeds, 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def reached(self) -> bool | None:
        """Whether our mean is at least as good as the published value; None if none can be."""
        if self.published is None or self.higher_is_better is None:
            return None
        return self.mean >= self.published if self.higher_is_better else self.mean <= self.published


@dataclass(frozen=True)
class Plan:
    """Conditions of a reproduction.

    Attributes:
        folder: folder for the runs; runs in it are resumed, and finished ones not repeated.
        seeds: the seeds.
        workers: number of processes; None for one on each core.
        settings: settings that replace those of every run, such as fewer ``steps``, by name.
    """

    folder: Path
    seeds: Sequence[int] = tuple(range(5))
    workers: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Experiment(ABC):
    """Published experiment that ``sparse-engine reproduce`` runs by its name."""

    name: str
    summary: str
    source: str

    @abstractmethod
    def rows(self, plan: Plan) -> list[Row]:
        """Run the experiment, or what is left of it, and return what was measured."""


def report(experiment: Experiment, plan: Plan, rows: Sequence[Row], seconds: float) -> dict:
    """Return a record of a reproduction, of so many seconds in all, with values for JSON."""
    return {
        "experiment": experiment.name,
        "summary": experiment.summary,
        "source": experiment.source,
        "command": f"sparse-engine reproduce {experiment.name} --seeds {len(plan.seeds)}",
        "seeds": list(plan.seeds),
        "settings": dict(plan.settings),
        "date": date.today().isoformat(),
        "machine": machine.info(),
        "seconds": seconds,
        "rows": [
            {**asdict(row), "values": [_number(value) for value in row.values]} for row in rows
        ],
    }


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if math.isnan(value) else value


def read_rows(report: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a :func:`report`."""
    nan = float("nan")
    return [
        Row(**{**row, "values": [nan if value is None else value for value in row["values"]]})
        for row in report["rows"]
    ]


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of ours beside theirs."""
    lines = [
        "| variant | quantity | published | ours, mean ± sd | seeds | reached | s per run | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        reached = {None: "", True: "yes", False: "no"}[row.reached]
        published = "" if row.published is None else f"{row.published:.4g}"
        seconds = f"{statistics.fmean(row.seconds):.0f}" if row.seconds else ""
        lines.append(
            f"| {row.variant} | {row.quantity} | {published} | {row.mean:.4g} ± "
            f"{row.deviation:.2g} | {len(row.values)} | {reached} | {seconds} | {row.note} |"
        )
    return "\n".join(lines)
