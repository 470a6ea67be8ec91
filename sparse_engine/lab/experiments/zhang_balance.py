"""Balance along training, with what it is by chance, of the networks of Zhang et al."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from sparse_engine.analysis import Balance
from sparse_engine.lab.experiments.training import (
    Finished,
    Quantity,
    Runs,
    TrainingExperiment,
)
from sparse_engine.lab.experiments.zhang import GESTURE, MACKEY_GLASS, SMS, SOURCE

TASKS = {"mackey-glass": MACKEY_GLASS, "gesture": GESTURE, "sms": SMS}
METHODS = ("pruning", "SET")
#: Rewirings between records of the balance.
EVERY = 5
#: Random graphs with permuted signs in each record; in dense networks they take most of the time.
SHUFFLES = 100


def _core(name: str, kind: str, number: int) -> Quantity:
    return Quantity(name, lambda run: _number(records(run)[number][kind.replace(" ", "_")]))


def _z(kind: str) -> Quantity:
    def of(run: Finished) -> float:
        return _number(records(run)[-1]["null"][kind.replace(" ", "_")]["z"])

    return Quantity(f"z of balance, {kind}", of)


def records(run: Finished) -> list[dict[str, Any]]:
    """Return the records of a run with its balance and null bands."""
    found = [record for record in run.rewirings if "null" in record]
    if not found:
        raise ValueError(f"expected at least {EVERY} rewirings in {run.folder}, found fewer")
    return found


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def draw(folder: Path, runs: Runs) -> None:
    """Draw balance.png: a panel for each task and method, a line for each seed.

    The ends of the band are means over the seeds.
    """
    from sparse_engine.lab import plot

    size = (4.2 * len(TASKS), 3.4 * len(METHODS))
    with plot.panels(folder / "balance.png", len(METHODS), len(TASKS), size=size) as axes:
        for row, method in zip(axes, METHODS, strict=True):
            for each, task in zip(row, TASKS, strict=True):
                plot.balance(with_common_band(runs[f"{task} {method}"]), each)
                each.set_title(f"{task}, {method}", fontsize=10, pad=30)


def with_common_band(runs: Sequence[Finished], statistic: str = "pooled") -> list[dict[str, Any]]:
    """Return the records of runs of several seeds, the first with the mean of all null bands."""
    every = [records(run) for run in runs]
    lines = [
        {"step": record["step"], statistic: record[statistic], "weight": f"seed {run.config.seed}"}
        for run, found in zip(runs, every, strict=True)
        for record in found
    ]
    for record, *same in zip(lines, *every, strict=False):
        bands = [each["null"][statistic] for each in same]
        ends = {end: [_number(band[end]) for band in bands] for end in ("low", "high")}
        record["null"] = {statistic: {end: fmean(values) for end, values in ends.items()}}
    return lines


#: Pruning and SET on three tasks, with balance and its null band along training. Balance is that of
#: the core: the links that a rewiring leaves, without those that it grows. The null band holds the
#: middle 95 % of the balances of the same links with permuted signs.
BALANCE_ALONG_TRAINING = TrainingExperiment(
    "zhang-balance",
    "balance along training beside that of permuted signs",
    SOURCE,
    [
        replace(
            variant,
            name=f"{task} {variant.name}",
            settings={**variant.settings, **experiment.settings},
            measures=(Balance(every=EVERY, shuffles=SHUFFLES),),
        )
        for task, experiment in TASKS.items()
        for variant in experiment.variants
        if variant.name in METHODS
    ],
    [
        quantity
        for kind in ("class mean", "pooled")
        for quantity in (
            _core(f"balance, {kind}, first record", kind, 0),
            _core(f"balance, {kind}", kind, -1),
            _z(kind),
        )
    ],
    draw=draw,
)
