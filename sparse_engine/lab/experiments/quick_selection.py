"""QuickSelection, the selection of features by the strength of inputs, on Madelon.

Atashgahi et al. 2022. A multilayer perceptron is trained by SET; the features whose links are
strongest are selected. Which 20 of the 500 features matter is not published, so a selection is
judged by how well nearest neighbours name classes by these features alone, and by how alike the
selections of several seeds are.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from sparse_engine.analysis import input_strength
from sparse_engine.lab.experiments.training import Row, Runs, TrainingExperiment, Variant, seconds
from sparse_engine.lab.tasks import Examples, Supervised, seeded
from sparse_engine.lab.train import StoredRun, read_weights

SELECTED, NEIGHBOURS = 20, 5
#: The weight of the first layer of a multilayer perceptron.
FIRST = "layers.linear0.weight"


def judged(runs: Runs) -> list[Row]:
    """Judge the selections of networks beside random features and all features."""
    everyone = [run for each in runs.values() for run in each]
    (task,) = {run.config.task for run in everyone}
    assert isinstance(task, Supervised)
    quantity = f"test accuracy of {NEIGHBOURS} nearest neighbours"
    rows = []
    for name, each in runs.items():
        chosen = [strongest(run) for run in each]
        accuracies = [neighbours_accuracy(task.examples, features) for features in chosen]
        rows += [
            Row(name, quantity, accuracies, higher_is_better=True, seconds=seconds(each)),
            Row(name, "features that two seeds share", overlaps(chosen)),
        ]
    every = torch.arange(task.examples["train"].inputs.shape[1])
    seeds = sorted({run.config.seed for run in everyone})
    draws = [torch.randperm(len(every), generator=seeded(seed))[:SELECTED] for seed in seeds]
    at_random = [neighbours_accuracy(task.examples, features) for features in draws]
    return [
        *rows,
        Row("random features", quantity, at_random),
        Row("all features", quantity, [neighbours_accuracy(task.examples, every)]),
    ]


def strongest(run: StoredRun) -> Tensor:
    """Return the features whose inputs are strongest at the end of a run, int64 ``[20]``."""
    strength = input_strength(read_weights(run.folder)[FIRST])
    return torch.from_numpy(np.argsort(-strength, kind="stable")[:SELECTED].copy())


def overlaps(chosen: list[Tensor]) -> list[float]:
    """Return the fraction of features that two selections share, for all pairs; one has 1."""
    pairs = [*combinations(chosen, 2)]
    return [torch.isin(a, b).double().mean().item() for a, b in pairs] or [1.0]


def neighbours_accuracy(parts: Mapping[str, Examples], features: Tensor) -> float:
    """Return the test accuracy of the most frequent class among the nearest training examples."""
    known, asked = parts["train"], parts["test"]
    distances = torch.cdist(asked.inputs[:, features], known.inputs[:, features])
    nearest = known.targets[distances.topk(NEIGHBOURS, largest=False).indices]
    return (nearest.mode(1).values == asked.targets).double().mean().item()


QUICK_SELECTION = TrainingExperiment(
    "quick-selection",
    "selection of 20 of 500 features by the strength of inputs",
    "Atashgahi et al., Quick and robust feature selection: the strength of energy-efficient "
    "sparse training for autoencoders, Machine Learning 2022",
    [Variant("SET", "madelon"), Variant("fixed wiring", "madelon", {"method": "static"})],
    [],
    further=judged,
)
