"""Balance of the networks of Zhang et al.: along training, and against performance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from statistics import fmean
from typing import Any

from sparse_engine.analysis import Balance
from sparse_engine.lab.experiments.balance import balance_quantities
from sparse_engine.lab.experiments.training import (
    Quantity,
    Row,
    Runs,
    TrainingExperiment,
    Variant,
    number,
)
from sparse_engine.lab.experiments.zhang import (
    FIXED,
    GESTURE,
    MACKEY_GLASS,
    PUBLISHED,
    SMS,
    SOURCE,
)
from sparse_engine.lab.train import StoredRun

TASKS = {"mackey-glass": MACKEY_GLASS, "gesture": GESTURE, "sms": SMS}
METHODS = ("pruning", "SET")
#: Rewirings between records of the balance.
EVERY = 5
#: Random graphs with permuted signs in each record; in dense networks they take most of the time.
SHUFFLES = 100


def _recorded(name: str, place: int, *path: str) -> Quantity:
    """Return an entry of the record at a place, such as -1 for the last."""

    def of(run: StoredRun) -> float:
        found: Any = reduce(getitem, path, records(run)[place])
        return number(found)

    return Quantity(name, of)


def records(run: StoredRun) -> list[dict[str, Any]]:
    """Return the records of a run with its balance and null bands."""
    found = [record for record in run.rewirings if "null" in record]
    if not found:
        raise ValueError(f"expected at least {EVERY} rewirings in {run.folder}, found fewer")
    return found


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


def with_common_band(runs: Sequence[StoredRun], statistic: str = "pooled") -> list[dict[str, Any]]:
    """Return the records of runs of several seeds, the first with the mean of all null bands."""
    every = [records(run) for run in runs]
    lines = [
        {"step": record["step"], statistic: record[statistic], "weight": f"seed {run.config.seed}"}
        for run, found in zip(runs, every, strict=True)
        for record in found
    ]
    for record, *same in zip(lines, *every, strict=False):
        bands = [each["null"][statistic] for each in same]
        ends = {end: [number(band[end]) for band in bands] for end in ("low", "high")}
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
            name=f"{task} {variant.name.removesuffix(PUBLISHED)}",
            settings={**variant.settings, **experiment.settings},
            measures=(Balance(every=EVERY, shuffles=SHUFFLES),),
        )
        for task, experiment in TASKS.items()
        for variant in experiment.variants
        if variant.published and variant.name.removesuffix(PUBLISHED) in METHODS
    ],
    [
        quantity
        for kind, entry in (("class mean", "class_mean"), ("pooled", "pooled"))
        for quantity in (
            _recorded(f"balance, {kind}, first record", 0, entry),
            _recorded(f"balance, {kind}", -1, entry),
            _recorded(f"z of balance, {kind}", -1, "null", entry, "z"),
        )
    ],
    draw=draw,
)


#: Pooled balances of the wirings.
BALANCES = tuple(tenth / 10 for tenth in range(1, 10))
ACCURACY = Quantity.best("test", "accuracy", True)
POOLED = "balance, pooled"


def correlations(runs: Runs) -> list[Row]:
    """Return Spearman's rank correlations of accuracy with balance, with their p-values."""
    from scipy.stats import spearmanr  # takes half a second

    rows = []
    quantities = {quantity.name: quantity for quantity in balance_quantities()}
    every = [run for each in runs.values() for run in each]
    for name in (POOLED, "balance, class mean"):
        found = spearmanr([ACCURACY.of(run) for run in every], values(quantities[name], every))
        rows.append(Row("all", f"rank correlation of accuracy with {name}", [found.statistic]))
        rows.append(Row("all", f"p of the correlation with {name}", [found.pvalue]))
    return rows


def values(quantity: Quantity, runs: Sequence[StoredRun]) -> list[float]:
    """Return a quantity of each run."""
    return [quantity.of(run) for run in runs]


def draw_accuracy(folder: Path, runs: Runs) -> None:
    """Draw accuracy.png: the test accuracy of every network over its pooled balance."""
    from sparse_engine.lab import plot
    from sparse_engine.lab.plot.picture import BLUE, style

    (pooled,) = (quantity for quantity in balance_quantities() if quantity.name == POOLED)
    every = [run for each in runs.values() for run in each]
    means = [
        (sum(values(pooled, each)) / len(each), sum(values(ACCURACY, each)) / len(each))
        for each in runs.values()
    ]
    with plot.picture(folder / "accuracy.png", size=(6, 4)) as axes:
        axes.plot(values(pooled, every), values(ACCURACY, every), "o", ms=4, alpha=0.5, color=BLUE)
        axes.plot(*zip(*means, strict=True), lw=1.6, color=BLUE, label="mean over seeds")
        label = "share of balanced semicycles of the fixed recurrent weights"
        style(axes, label, "test accuracy", legend={})


#: The gesture task with recurrent weights that are not trained, of nine balances. Wirings of each
#: balance are generated by simulated annealing; input weights, biases and readout are trained. The
#: target is the pooled balance: the class mean, which Zhang et al. bring to a target, can be moved
#: by a handful of semicycles in the small classes.
INITIAL_BALANCE = TrainingExperiment(
    "zhang-initial-balance",
    "accuracy on gestures against the balance of recurrent weights that are not trained",
    SOURCE,
    [
        Variant(
            f"balance {balance:.1f}",
            "gesture",
            {
                **FIXED["gesture"],
                "wiring_options": {**FIXED["gesture"]["wiring_options"], "balance": balance},
                "faithful": True,
            },
        )
        for balance in BALANCES
    ],
    [
        ACCURACY,
        Quantity.last_ten("test", "accuracy", True),
        *(each for each in balance_quantities() if each.name.startswith("balance")),
    ],
    further=correlations,
    draw=draw_accuracy,
)
