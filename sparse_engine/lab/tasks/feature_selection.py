"""Data sets of feature selection: pictures of COIL20, lung tissue, and Madelon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.features import (
    SET_RECIPE,
    FeatureClassification,
    Reconstruction,
    standardized,
)
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import read_lines, read_mat
from sparse_engine.lab.tasks.supervised import Examples, split
from sparse_engine.lab.tasks.task import seeded
from sparse_engine.models import set_density

SCIKIT_FEATURE = "https://jundongl.github.io/scikit-feature/files/datasets/"
COIL20_FILE = DataFile(
    "coil20",
    "COIL20.mat",
    f"{SCIKIT_FEATURE}COIL20.mat",
    "4595ebdda07f47b0eb014fcfaddc22b452f9aed9c1d9261a0d5bc336c1ee1344",
)
LUNG_FILE = DataFile("lung", "lung.mat", f"{SCIKIT_FEATURE}lung.mat")
SITE = "https://archive.ics.uci.edu/ml/machine-learning-databases/madelon/"
#: SHA-256 of each file by the end of its name.
HASHES = {
    "train.data": "0b6e37711efdc7ab74250c51e7d6966bffd9f8f2b0e9971e882c3a7a380c2314",
    "train.labels": "10bffcc3b017467cb810d326b931951adcbde2b4870faf981da2991993b48689",
    "valid.data": "cb9a46475147de1a58d9f15ef4c318e5b85de344e0f9ab92626fa446aa815dc9",
    "valid.labels": "1aa311db914031ce44fc1dcf00fe4a0c31becb6c5c4e809db7fec13eead58fcc",
}
CLASSES = {"-1": 0, "1": 1}


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
    path = COIL20_FILE.find(folder)
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
        "optimizer_options": {"momentum": 0.9, "weight_decay": 2e-3},
        "steps": 57 * 100,
        "every": 57,
        "save_every": 570,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read, split and standardize the samples."""
        samples = read_mat(LUNG_FILE.find(self.data), 203, self.features, self.answers)
        order = torch.randperm(len(samples), generator=seeded(0))
        return standardized(split(samples, order, validation=20, test=68))


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
        "optimizer_options": {"momentum": 0.9, "weight_decay": 1e-2},
        "steps": 56 * 100,
        "every": 56,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read, split and standardize the examples."""
        data, labels, more_data, more_labels = (self._file(end).find(self.data) for end in HASHES)
        train = self._read(data, labels, 2000)
        test = self._read(more_data, more_labels, 600)
        return standardized({"train": train[:1800], "validation": train[1800:], "test": test})

    def _file(self, end: str) -> DataFile:
        name = f"madelon_{end}"
        path = name if end == "valid.labels" else f"MADELON/{name}"
        return DataFile(self.name, name, SITE + path, HASHES[end])

    def _read(self, data: Path, labels: Path, count: int) -> Examples:
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
