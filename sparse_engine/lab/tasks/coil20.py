"""COIL20: which of twenty objects a small picture shows, and reconstructions of the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification, Reconstruction
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import read_mat
from sparse_engine.lab.tasks.supervised import Examples, split
from sparse_engine.lab.tasks.task import seeded
from sparse_engine.models import set_density

FILE = DataFile(
    "coil20",
    "COIL20.mat",
    "https://jundongl.github.io/scikit-feature/files/datasets/COIL20.mat",
    "4595ebdda07f47b0eb014fcfaddc22b452f9aed9c1d9261a0d5bc336c1ee1344",
)


@dataclass(frozen=True)
class COIL20(FromFiles, FeatureClassification):
    """Columbia Object Image Library (Nene et al. 1996): 20 objects, each seen from 72 sides.

    1,440 pictures of 32 x 32 grey levels in [0, 1], in an order drawn at random: 480 for test, 96
    for validation and 864 for training. The metric is the fraction of pictures whose object is
    named right.
    """

    name = "coil20"
    summary = "which of 20 objects a picture of 32 x 32 pixels shows"
    features: ClassVar[int] = 1024
    answers: ClassVar[int] = 20
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(20, 1024, 1000, 1000, 1000, 20),
        "hidden": [1000, 1000, 1000],
        "activation": "all_relu",
        "dropout": 0.3,
        "learning_rate": 0.01,
        "optimizer_options": {"momentum": 0.9, "weight_decay": 2e-4},
        "steps": 27 * 100,
        "every": 27,
        "evaluate_every": 270,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the pictures."""
        return coil20(self.data)


def coil20(folder: Path | None) -> dict[str, Examples]:
    """Read and split the pictures of COIL20 and their objects."""
    path = FILE.find(folder)
    pictures = read_mat(path, 1440, COIL20.features, COIL20.answers)
    low, high = pictures.inputs.min(), pictures.inputs.max()
    if low < 0 or high > 1:
        raise ValueError(f"expected grey levels in [0, 1], found {low:g} to {high:g} in {path}")
    order = torch.randperm(len(pictures), generator=seeded(0))
    return split(pictures, order, validation=96, test=480)


@dataclass(frozen=True)
class COIL20RBM(FromFiles, Reconstruction):
    """Reconstruction of the pictures of :class:`COIL20`, the experiment of SET-RBM.

    The published split has 960 pictures for training and 480 for test. Here 96 of the 960 are for
    validation, so that 864 remain. The recipe is the published one; its weight decay, which is not
    multiplied by the learning rate there, is divided by it here.
    """

    batch_size: int = 10
    """Pictures in a batch."""

    name = "coil20-rbm"
    summary = "reconstruct pictures of 32 x 32 pixels, by contrastive divergence"
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(10, 1024, 200),
        "hidden": 200,
        "learning_rate": 0.1,
        "optimizer_options": {"weight_decay": 2e-6},
        "steps": 86 * 1000,
        "every": 86,
        "evaluate_every": 860,
        "save_every": 8600,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the pictures."""
        parts = coil20(self.data).items()
        return {name: replace(part, targets=part.inputs) for name, part in parts}
