"""Networks in continuous time of Zhang et al.: neural ODE and liquid time-constant networks.

The published runs are of the task person. The same networks run on gestures, for which no values
are published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sparse_engine.lab.experiments.training import TrainingExperiment, Variant
from sparse_engine.lab.experiments.zhang import (
    ACCURACY,
    DENSE,
    SOURCE,
    accuracies,
    balances,
    deep_r,
    experiment,
    variant,
)
from sparse_engine.lab.train import Config

#: Names of experiments end in this for each task.
ENDINGS = {"gesture": "", "person": "-person"}
#: Settings of both networks, beside the recipe of a task.
NETWORK: Mapping[str, Any] = {
    "hidden": 64,
    "learning_rate": 5e-3,
    "input_std": None,
    "readout_std": None,
}
NOTE = "published on person only"


def neural_ode(task: str) -> TrainingExperiment:
    """Return neural ODEs of 64 units: dense, pruned and rewired by DeepR.

    Args:
        task: "person", as published, or "gesture".
    """
    options = {"unfolds": 6, "dt": 0.01}
    settings: dict[str, Any] = {**NETWORK, "cell": "neural_ode", "cell_options": options}

    def make(name: str, accuracy: float, *balance: float, **own: Any) -> Variant:
        found = {ACCURACY: accuracy, **(balances(*balance) if balance else {})}
        published, note = (found, "") if task == "person" else ({}, NOTE)
        return variant(task, name, published, note, **settings, **own)

    return experiment(
        f"neural-ode{ENDINGS[task]}",
        f"neural ODEs of 64 units on the task {task}",
        [
            make("pruning", 0.82003, 0.515, 0.509, method="narang", **DENSE),
            make("DeepR", 0.81977, 0.551, 0.621, **deep_r(1e-4, 1e-4)),
            make("dense", 0.81811, method="static", density=1.0),
        ],
        accuracies(),
        faithful=True,
    )


def ltc(task: str) -> TrainingExperiment:
    """Return liquid time-constant networks of 64 units: dense, pruned and rewired by SET.

    Synapses from the inputs are as sparse as those between units. Inputs are mapped by a trained
    factor and offset each. No published values are known.

    Args:
        task: "person", as published, or "gesture".
    """
    settings: dict[str, Any] = {**NETWORK, "cell": "ltc", "faithful": True}

    def make(name: str, **own: Any) -> Variant:
        return Variant(
            name, partial(Config.published, task, **settings, **own), note="no published values"
        )

    return TrainingExperiment(
        f"zhang-ltc{ENDINGS[task]}",
        f"liquid time-constant networks of 64 units on the task {task}",
        SOURCE,
        [
            make("pruning", method="pruning", **DENSE),
            make("SET", method="set", fraction=0.1, input_density=0.05),
            make("dense", method="static", density=1.0),
        ],
        accuracies(),
    )


#: The experiments, by name.
CONTINUOUS: dict[str, Callable[[], TrainingExperiment]] = {
    f"zhang-{name}{ending}": partial(make, task)
    for name, make in {"neural-ode": neural_ode, "ltc": ltc}.items()
    for task, ending in ENDINGS.items()
}
