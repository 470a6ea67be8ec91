"""Lung task: types of lung cancer by the expression of genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification, standardized
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import read_mat
from sparse_engine.lab.tasks.supervised import Examples, split
from sparse_engine.lab.tasks.task import seeded
from sparse_engine.models import set_density

FILE = DataFile(
    "lung", "lung.mat", "https://jundongl.github.io/scikit-feature/files/datasets/lung.mat"
)


@dataclass(frozen=True)
class Lung(FromFiles, FeatureClassification):
    """Tissue of lungs (Bhattacharjee et al. 2001): 5 types by the expression of 3,312 genes.

    This is the demonstration of SET. The published split has 135 samples for training and 68 for
    test. Here 20 of the 135 are for validation, so that 115 remain; the order is drawn at random.
    Features are standardized by the training samples. The metric is the fraction of samples whose
    type is named right. The recipe is the published one, with softmax in place of sigmoids and
    squared errors. Weight decay, which is not multiplied by the learning rate there, is converted.
    """

    batch_size: int = 2
    """Samples in a batch."""

    name = "lung"
    summary = "types of lung tissue by the expression of 3,312 genes"
    features: ClassVar[int] = 3312
    answers: ClassVar[int] = 5
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(20, 3312, 3000, 3000, 3000, 5),
        "hidden": [3000, 3000, 3000],
        "initial_std": 0.1,
        "learning_rate": 0.01,
        "optimizer_options": {"momentum": 0.9, "weight_decay": 2e-3},
        "steps": 57 * 100,
        "every": 57,
        "evaluate_every": 57,
        "save_every": 570,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read, split and standardize the samples."""
        samples = read_mat(FILE.find(self.data), 203, self.features, self.answers)
        order = torch.randperm(len(samples), generator=seeded(0))
        return standardized(split(samples, order, validation=20, test=68))
