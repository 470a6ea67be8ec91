"""Sparse evolutionary training by Mocanu et al., Nature Communications 2018: SET-MLP and SET-RBM.

Every network is trained dense, with fixed random links, and by SET.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sparse_engine.lab.experiments.training import (
    Finished,
    Quantity,
    TrainingExperiment,
    Variant,
    best_on_validation,
)
from sparse_engine.lab.train import Config

SOURCE = (
    "Mocanu et al., Scalable training of artificial neural networks with adaptive sparse "
    "connectivity inspired by network science, Nature Communications 2018"
)
DENSE: dict[str, Any] = {"method": "static", "density": 1.0}
ACCURACY, MSE = "test accuracy at the end", "test mse at the end"
DRAWN = "the published error may be that of drawn hidden states (sampled mse)"


def at_end(split: str, measure: str, higher_is_better: bool) -> Quantity:
    """Return a measure at the end of a run."""

    def of(run: Finished) -> float:
        return run.result.last[split][measure]

    return Quantity(f"{split} {measure.replace('_', ' ')} at the end", of, higher_is_better)


def rbm() -> TrainingExperiment:
    """Return the reconstruction of COIL20 by restricted Boltzmann machines."""
    make = partial(Config.published, "coil20-rbm")
    return TrainingExperiment(
        "set-rbm",
        "reconstruction of pictures by 200 hidden units, with about 6 % of the links",
        SOURCE,
        [
            Variant("SET", make, {MSE: 0.01359}, note=DRAWN),
            Variant("fixed wiring", partial(make, method="static"), {MSE: 0.02663}, note=DRAWN),
        ],
        [at_end("test", measure, False) for measure in ("mse", "sampled_mse")],
    )


def mlp(
    task: str, summary: str, published: Mapping[str, float], **settings: Any
) -> TrainingExperiment:
    """Return the classification of a task by multilayer perceptrons.

    Args:
        task: name of the task.
        summary: description in a few words.
        published: published test accuracies at the end, by variant.
        **settings: settings of every run.
    """
    variants: dict[str, dict[str, Any]] = {
        "dense": {**DENSE, "initial_std": None},
        "fixed wiring": {"method": "static"},
        "SET": {},
    }
    return TrainingExperiment(
        f"set-mlp-{task}",
        summary,
        SOURCE,
        [
            Variant(
                name,
                partial(Config.published, task, **own),
                {ACCURACY: published[name]} if name in published else {},
            )
            for name, own in variants.items()
        ],
        [at_end("test", "accuracy", True), best_on_validation("test", "accuracy", True)],
        settings,
    )


#: The experiments, by name.
SET: dict[str, Callable[[], TrainingExperiment]] = {
    "set-rbm": rbm,
    "set-mlp-cifar-10": partial(
        mlp,
        "cifar-10",
        "colour pictures, layers of 4000, 1000 and 4000 units",
        {"dense": 0.7025, "fixed wiring": 0.6883, "SET": 0.7330},
    ),
    "set-mlp-coil20": partial(mlp, "coil20", "objects in pictures, three layers of 1000 units", {}),
    "set-mlp-fashion-mnist": partial(
        mlp,
        "fashion-mnist",
        "clothing in 2,000 pictures, three layers of 1000 units",
        {"dense": 0.820, "fixed wiring": 0.806, "SET": 0.826},
    ),
    "set-mlp-lung": partial(
        mlp,
        "lung",
        "types of lung tissue, three layers of 3000 units",
        {"fixed wiring": 0.9118, "SET": 0.9412},
    ),
    "set-mlp-madelon": partial(
        mlp, "madelon", "two classes by 20 of 500 features, layers of 400, 100 and 400 units", {}
    ),
}
