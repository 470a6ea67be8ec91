"""Madelon task: two classes, which 20 of 500 features decide on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification, standardized
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import read_lines
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.models import set_density

SITE = "https://archive.ics.uci.edu/ml/machine-learning-databases/madelon/"
#: SHA-256 of each file by its path at the site.
HASHES = {
    "MADELON/madelon_train.data": (
        "0b6e37711efdc7ab74250c51e7d6966bffd9f8f2b0e9971e882c3a7a380c2314"
    ),
    "MADELON/madelon_train.labels": (
        "10bffcc3b017467cb810d326b931951adcbde2b4870faf981da2991993b48689"
    ),
    "MADELON/madelon_valid.data": (
        "cb9a46475147de1a58d9f15ef4c318e5b85de344e0f9ab92626fa446aa815dc9"
    ),
    "madelon_valid.labels": "1aa311db914031ce44fc1dcf00fe4a0c31becb6c5c4e809db7fec13eead58fcc",
}
CLASSES = {"-1": 0, "1": 1}


@dataclass(frozen=True)
class Madelon(FromFiles, FeatureClassification):
    """Artificial data of a feature selection contest (Guyon et al. 2004), two classes.

    The classes are groups of the corners of a cube of five dimensions. Five features are the
    coordinates, 15 are mixtures of them, and 480 are noise; which ones is not published. Of the
    published 2,000 training examples the last 200 are for validation here. The published 600
    validation examples are the test split, because the classes of the published test examples are
    not. Features are standardized by the training examples. The metric is the fraction of examples
    whose class is named right. The weight decay of the recipe is our choice: a stronger one than
    usual frees the inputs from noise.
    """

    name = "madelon"
    summary = "two classes on which 20 of 500 features decide"
    features: ClassVar[int] = 500
    answers: ClassVar[int] = 2
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(10, 500, 400, 100, 400, 2),
        "hidden": [400, 100, 400],
        "activation": "all_relu",
        "slope": 0.5,
        "dropout": 0.3,
        "learning_rate": 0.01,
        "optimizer_options": {"momentum": 0.9, "weight_decay": 1e-2},
        "steps": 56 * 100,
        "every": 56,
        "evaluate_every": 56,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read, split and standardize the examples."""
        data, labels, more_data, more_labels = (
            DataFile(self.name, path.rsplit("/", 1)[-1], SITE + path, sha256).find(self.data)
            for path, sha256 in HASHES.items()
        )
        train = self._read(data, labels, 2000)
        test = self._read(more_data, more_labels, 600)
        return standardized({"train": train[:1800], "validation": train[1800:], "test": test})

    def _read(self, data: Path, labels: Path, count: int) -> Examples:
        """Read the features and classes of a number of examples."""
        # A space follows each number, also the last of a line.
        lines = read_lines(data, self.features + 1, separator=" ")
        features = [line.floats(0, self.features) for line in lines]
        classes = [line.one_of(CLASSES, 0) for line in read_lines(labels, 1)]
        for path, found in ((data, len(features)), (labels, len(classes))):
            if found != count:
                raise ValueError(f"expected {count:,} lines, found {found:,} in {path}")
        return Examples(
            torch.tensor(features, dtype=torch.get_default_dtype()), torch.tensor(classes)
        )
