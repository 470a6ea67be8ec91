"""Data that libraries ship: digits of scikit-learn, vowels of aeon, a laser of reservoirpy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.tasks.sequences import SMALL_RECIPE, ImageSequences, Sequences
from sparse_engine.lab.tasks.supervised import Classification, Examples, Regression, split
from sparse_engine.lab.tasks.task import seeded


@dataclass(frozen=True)
class Digits(ImageSequences):
    """Handwritten digits that scikit-learn ships (Alpaydin & Kaynak 1998), read as sequences.

    1,797 images of 8 x 8 pixels in [0, 1], in an order drawn at random: 180 for validation, 360 for
    test and 1,257 for training. The metric is the fraction of images whose digit is named right.
    """

    name = "digits"
    summary = "written digits of 8 x 8 pixels, row by row or pixel by pixel"
    recipe: ClassVar[dict[str, Any]] = {**SMALL_RECIPE, "steps": 2000, "every": 50}
    answers: ClassVar[int] = 10
    side: ClassVar[int] = 8

    def load(self) -> Mapping[str, Examples]:
        """Split the images of scikit-learn."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.from_numpy(digits.data / 16).to(torch.get_default_dtype())
        classes = torch.from_numpy(digits.target).long()
        examples = Examples(images.view(-1, self.steps, self.features), classes)
        order = torch.randperm(len(examples), generator=seeded(0))
        return split(examples, order, validation=180, test=360)


@dataclass(frozen=True)
class JapaneseVowels(Sequences, Classification):
    """Japanese vowels (Kudo et al. 1999), which aeon ships: sequences of unequal lengths.

    Nine speakers, twelve cepstral coefficients, 7 to 29 steps. Of the 270 training sequences every
    fifth is for validation; the 370 test sequences are the published ones. The metric is the
    fraction of sequences whose speaker is named right.
    """

    name = "japanese-vowels"
    summary = "speaker of a vowel, from sequences of unequal lengths"
    recipe: ClassVar[dict[str, Any]] = {**SMALL_RECIPE, "steps": 700, "every": 35}
    steps: ClassVar[int] = 29
    features: ClassVar[int] = 12
    answers: ClassVar[int] = 9

    def load(self) -> Mapping[str, Examples]:
        """Pad the sequences with zeros and split the training part."""
        from aeon.datasets import load_japanese_vowels

        parts = (load_japanese_vowels(split=part) for part in ("train", "test"))
        train, test = (self._examples(*part) for part in parts)
        held_out = torch.arange(len(train)) % 5 == 4
        return {"train": train[~held_out], "validation": train[held_out], "test": test}

    def _examples(self, sequences: Any, speakers: Any) -> Examples:
        lengths = torch.tensor([sequence.shape[1] for sequence in sequences])
        inputs = torch.zeros(len(sequences), self.steps, self.features)
        for row, sequence in zip(inputs, sequences, strict=True):
            row[: sequence.shape[1]] = torch.from_numpy(sequence.T)
        classes: Tensor = torch.tensor([int(speaker) - 1 for speaker in speakers])
        return Examples(inputs, classes, lengths)


@dataclass(frozen=True)
class Laser(Sequences, Regression):
    """Santa Fe laser (Weigend & Gershenfeld 1993), which reservoirpy ships, one step ahead.

    Of 10,093 measured intensities the first 6,000 are for training, the next 2,000 for validation
    and the others for test, all standardized by the training values. Sequences are windows of 100
    values. Each step's target is the next value; the first 50 steps, in which a network has seen
    little, do not count. Training windows begin at every value, others every 50. The metric is the
    mean squared error, in variances of the training values.
    """

    name = "laser"
    summary = "next intensity of a chaotic laser"
    recipe: ClassVar[dict[str, Any]] = {**SMALL_RECIPE, "steps": 3000, "every": 100}
    metric = "nmse"
    every_step = True
    steps: ClassVar[int] = 100
    features: ClassVar[int] = 1
    answers: ClassVar[int] = 1
    #: The number of steps at the start of a window whose outputs do not count.
    washout: ClassVar[int] = 50
    train_size: ClassVar[int] = 6000
    validation_size: ClassVar[int] = 2000

    def load(self) -> Mapping[str, Examples]:
        """Cut the series of reservoirpy into windows."""
        with warnings.catch_warnings():
            # The library leaves its file open.
            warnings.simplefilter("ignore", ResourceWarning)
            from reservoirpy.datasets import santafe_laser

            series = santafe_laser()
        values = torch.from_numpy(series).flatten().to(torch.get_default_dtype())
        trained = values[: self.train_size]
        values = (values - trained.mean()) / trained.std()
        end = self.train_size + self.validation_size
        return {
            "train": self._windows(values[: self.train_size], 1),
            "validation": self._windows(values[self.train_size : end], self.washout),
            "test": self._windows(values[end:], self.washout),
        }

    def _windows(self, values: Tensor, stride: int) -> Examples:
        windows = values.unfold(0, self.steps + 1, stride)[:, :, None]
        return Examples(windows[:, :-1], windows[:, 1:])

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error of the steps that count."""
        means = super().measures(outputs[:, self.washout :], targets[:, self.washout :])
        return {"loss": means["loss"], "nmse": means["mse"]}
