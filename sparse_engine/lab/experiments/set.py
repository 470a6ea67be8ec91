"""Sparse evolutionary training by Mocanu et al., Nature Communications 2018: SET-MLP and SET-RBM.

Every network is trained dense, with fixed random links, and by SET.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant

SOURCE = (
    "Mocanu et al., Scalable training of artificial neural networks with adaptive sparse "
    "connectivity inspired by network science, Nature Communications 2018"
)
VARIANTS: dict[str, dict[str, Any]] = {
    "dense": {"method": "static", "density": 1.0, "initial_std": None},
    "fixed wiring": {"method": "static"},
    "SET": {},
}
ACCURACY, MSE = "test accuracy at the end", "test mse at the end"
DRAWN = "the published error may be that of drawn hidden states (sampled mse)"


def _mlp(task: str, summary: str, published: Mapping[str, float]) -> TrainingExperiment:
    return TrainingExperiment(
        f"set-mlp-{task}",
        summary,
        SOURCE,
        [
            Variant(name, task, own, {ACCURACY: published[name]} if name in published else {})
            for name, own in VARIANTS.items()
        ],
        [Quantity.at_end("test", "accuracy", True), Quantity.best("test", "accuracy", True)],
    )


#: The experiments.
MOCANU = [
    TrainingExperiment(
        "set-rbm",
        "reconstruction of pictures by 200 hidden units, with about 6 % of the links",
        SOURCE,
        [
            Variant(name, "coil20-rbm", VARIANTS[name], {MSE: published}, note=DRAWN)
            for name, published in {"SET": 0.01359, "fixed wiring": 0.02663}.items()
        ],
        [Quantity.at_end("test", measure, False) for measure in ("mse", "sampled_mse")],
    ),
    _mlp(
        "cifar-10",
        "colour pictures, layers of 4000, 1000 and 4000 units",
        {"dense": 0.7025, "fixed wiring": 0.6883, "SET": 0.7330},
    ),
    _mlp("coil20", "objects in pictures, three layers of 1000 units", {}),
    _mlp(
        "fashion-mnist",
        "clothing in 2,000 pictures, three layers of 1000 units",
        {"dense": 0.820, "fixed wiring": 0.806, "SET": 0.826},
    ),
    _mlp(
        "lung",
        "types of lung tissue, three layers of 3000 units",
        {"fixed wiring": 0.9118, "SET": 0.9412},
    ),
    _mlp("madelon", "two classes by 20 of 500 features, layers of 400, 100 and 400 units", {}),
]
