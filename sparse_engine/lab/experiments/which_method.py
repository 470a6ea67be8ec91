"""Comparison of rewiring methods on recurrent networks, under equal budgets of updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.tasks import TASKS
from sparse_engine.lab.train import METHODS
from sparse_engine.lab.train.workers import density_settings

#: Updates of each task, and what else is the same for every method.
BUDGETS: dict[str, dict[str, Any]] = {
    "gesture": {"steps": 1400, "learning_rate": 1e-2},
    "sms": {"steps": 1400, "learning_rate": 2e-3},
    "digits": {"steps": 1400, "learning_rate": 3e-3},
    "adding": {"steps": 1400, "learning_rate": 3e-3, "length": 50},
    "mnist": {"steps": 2800, "learning_rate": 2e-3},
}
UNITS = 128
DENSITIES = (0.05, 0.01)
#: Methods that the short grid leaves out: variants of others, and one that differs from SET only in
#: networks with hidden layers.
LEFT_OUT = ("chtss", "deep-r-langevin", "narang", "dsr", "importance-set")
#: Methods of the short grid.
SHORT = tuple(name for name in METHODS if name not in LEFT_OUT)


def _variant(task: str, cell: str, method: str, density: float) -> Variant:
    """Return a variant of 40 rewirings and 20 evaluations; "dense" has all links, and stays."""
    steps = BUDGETS[task]["steps"]
    settings = {
        **BUDGETS[task],
        "cell": cell,
        "hidden": UNITS,
        "every": steps // 40,
        "evaluate_every": steps // 20,
        "save_every": steps,
        "fraction": 0.3,
        "method": "static" if method == "dense" else method,
    }
    settings |= density_settings(settings["method"], density)
    return Variant(f"{cell} {method} {density:.0%}", task, settings)


def _which_method(
    task: str, methods: Sequence[str], cells: Sequence[str], suffix: str
) -> TrainingExperiment:
    kind = TASKS[task]
    variants = []
    for cell in cells:
        variants.append(_variant(task, cell, "dense", 1.0))
        variants += [
            _variant(task, cell, method, density) for density in DENSITIES for method in methods
        ]
    return TrainingExperiment(
        f"which-method-{task}{suffix}",
        f"{len(methods)} methods on {task} with {', '.join(cells)} at 95 and 99 % sparsity",
        "a comparison of our own",
        variants,
        [
            Quantity.best(kind.splits[-1], kind.metric, kind.higher_is_better),
            Quantity("links at the end", lambda run: float(run.scores.last["nnz"])),
        ],
    )


#: The comparisons: short ones, and with every method and four cells.
WHICH_METHOD = [
    *(_which_method(task, SHORT, ("rnn", "lstm"), "") for task in BUDGETS),
    *(
        _which_method(task, tuple(METHODS), ("rnn", "lstm", "gru", "mgu"), "-full")
        for task in BUDGETS
    ),
]
