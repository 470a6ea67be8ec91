"""Comparison of rewiring methods on recurrent networks, under equal budgets of updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sparse_engine.lab.experiments.training import (
    Finished,
    Quantity,
    TrainingExperiment,
    Variant,
    best_on_validation,
)
from sparse_engine.lab.tasks import TASKS
from sparse_engine.lab.train import METHODS, Config
from sparse_engine.lab.train.sweep import with_density

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
CELLS = ("rnn", "lstm")
ALL_CELLS = ("rnn", "lstm", "gru", "mgu")


def settings_of(task: str, cell: str, method: str, density: float) -> Config:
    """Return the settings of one run; the method "dense" has all links and does not rewire.

    Rewirings are 40 in a run, evaluations 20. Methods that prune start dense.
    """
    steps = BUDGETS[task]["steps"]
    config = Config.published(task).replaced(
        **BUDGETS[task],
        cell=cell,
        hidden=UNITS,
        every=steps // 40,
        evaluate_every=steps // 20,
        save_every=steps,
        fraction=0.3,
    )
    if method == "dense":
        return config.replaced(method="static", density=1.0)
    return with_density(config.replaced(method=method), density)


def which_method(
    task: str, *, methods: Sequence[str] = SHORT, cells: Sequence[str] = CELLS, suffix: str = ""
) -> TrainingExperiment:
    """Return the comparison of methods on one task.

    Args:
        task: name of the task.
        methods: names of the methods, beside "dense".
        cells: names of the cells.
        suffix: end of the experiment's name.
    """
    kind = TASKS[task]
    split = kind.splits[-1]
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
            best_on_validation(split, kind.metric, kind.higher_is_better),
            Quantity("links at the end", _links),
        ],
    )


def _links(run: Finished) -> float:
    return float(run.result.nnz)


def _variant(task: str, cell: str, method: str, density: float) -> Variant:
    name = f"{cell} {method} {density:.0%}"
    return Variant(name, partial(settings_of, task, cell, method, density))


#: The comparisons by name: short ones, and with every method and four cells.
WHICH_METHOD: Mapping[str, Callable[[], TrainingExperiment]] = {
    **{f"which-method-{task}": partial(which_method, task) for task in BUDGETS},
    **{
        f"which-method-{task}-full": partial(
            which_method, task, methods=tuple(METHODS), cells=ALL_CELLS, suffix="-full"
        )
        for task in BUDGETS
    },
}
