"""CIFAR-10 task: what a small colour picture shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import check_labels
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.lab.tasks.task import Step
from sparse_engine.models import set_density

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FOLDER = "cifar-10-batches-bin"
SHAPE = (3, 32, 32)
#: Most pictures of a file, and bytes of each: a label and the levels of red, green and blue.
COUNT, RECORD = 10_000, 1 + math.prod(SHAPE)


@dataclass(frozen=True)
class CIFAR10(FromFiles, FeatureClassification):
    """Small colour pictures (Krizhevsky 2009): 10 kinds of objects, 3 x 32 x 32 levels.

    Of the 50,000 training pictures the last 5,000 are for validation; the 10,000 test pictures are
    the published ones. Levels are scaled to [0, 1]. The metric is the fraction of pictures whose
    kind is named right. The recipe is that of SET-MLP.
    """

    batch_size: int = 100
    """Pictures in a batch."""
    augment: bool = True
    """Whether training pictures are mirrored, turned and shifted at random, as published."""

    name = "cifar-10"
    summary = "what a colour picture of 32 x 32 pixels shows"
    answers: ClassVar[int] = 10
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(20, 3072, 4000, 1000, 4000),
        "hidden": [4000, 1000, 4000],
        "dense_output": True,
        "activation": "srelu",
        "dropout": 0.3,
        "optimizer_options": {"momentum": 0.9},
        "steps": 450 * 1000,
        "every": 450,
        "evaluate_every": 4500,
        "save_every": 4500,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the pictures."""
        names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
        *parts, test = (self._read(name) for name in names)
        train = Examples(
            torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts])
        )
        kept = len(train) * 9 // 10
        return {"train": train[:kept], "validation": train[kept:], "test": test}

    def _read(self, name: str) -> Examples:
        file = DataFile(self.name, name, URL, SHA256, f"{FOLDER}/{name}")
        return read_pictures(file.find(self.data))

    def batch(self, step: Step) -> Examples:
        """Return the examples of a step, changed at random if so wanted."""
        examples = super().batch(step)
        if not self.augment:
            return examples
        pictures = augmented(examples.inputs.view(-1, *SHAPE), step.generator())
        return replace(examples, inputs=pictures.flatten(1))


def read_pictures(path: Path) -> Examples:
    """Read a file of up to 10,000 pictures, ``[pictures, 3072]`` in [0, 1], and their kinds."""
    size = path.stat().st_size
    if not size or size % RECORD or size > COUNT * RECORD:
        raise ValueError(
            f"expected up to {COUNT:,} pictures of {RECORD:,} bytes, found {size:,} in {path}"
        )
    records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0]
    check_labels(labels, CIFAR10.answers, path)
    levels = torch.from_numpy(records[:, 1:].copy()).to(torch.get_default_dtype()) / 255
    return Examples(levels, torch.from_numpy(labels.astype("int64")))


def augmented(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures that are mirrored, turned and shifted at random, each by itself.

    Half of them are mirrored; the angle is up to 10 degrees, and the shifts are up to a tenth of
    the picture, both uniform. Levels between pixels are interpolated, and those outside are those
    of the nearest pixel. Pictures are ``[pictures, channels, rows, columns]``, square.
    """
    draws = torch.rand(4, len(pictures), generator=generator, dtype=pictures.dtype)
    mirrored = 1 - 2 * draws[0].round()
    angle = (2 * draws[1] - 1) * math.radians(10)
    # Coordinates run from -1 to 1, so that a tenth of the picture is 0.2.
    shift = (2 * draws[2:] - 1) * 0.2
    rows = [
        torch.stack([mirrored * angle.cos(), -angle.sin(), shift[0]], 1),
        torch.stack([mirrored * angle.sin(), angle.cos(), shift[1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
