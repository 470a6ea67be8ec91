"""Digits task: small written digits, row by row or pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Classification, Examples, split
from sparse_engine.lab.tasks.task import seeded


@dataclass(frozen=True)
class Digits(Sequences, Classification):
    """Handwritten digits that scikit-learn ships (Alpaydin & Kaynak 1998), read as sequences.

    1,797 images of 8 x 8 pixels in [0, 1], in an order drawn at random: 180 for validation, 360 for
    test and 1,257 for training. The metric is the fraction of images whose digit is named right.
    """

    pixels: bool = False
    """Whether a step is one pixel, which makes 64 steps, and not one row of 8."""

    name = "digits"
    summary = "written digits of 8 x 8 pixels, row by row or pixel by pixel"
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 2000,
        "every": 50,
        "evaluate_every": 50,
        "learning_rate": 0.003,
        "hidden": 128,
        "density": 0.05,
    }
    answers: ClassVar[int] = 10

    @property
    def steps(self) -> int:
        """The number of steps: rows or pixels."""
        return 64 if self.pixels else 8

    @property
    def features(self) -> int:
        """The number of pixels in a step."""
        return 64 // self.steps

    def load(self) -> Mapping[str, Examples]:
        """Split the images of scikit-learn."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.from_numpy(digits.data / 16).to(torch.get_default_dtype())
        classes = torch.from_numpy(digits.target).long()
        examples = Examples(images.view(-1, self.steps, self.features), classes)
        order = torch.randperm(len(examples), generator=seeded(0))
        return split(examples, order, validation=180, test=360)
