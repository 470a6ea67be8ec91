"""Laser task: forecast the next intensity of a chaotic laser at every step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Examples, Regression


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
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 3000,
        "every": 100,
        "evaluate_every": 100,
        "learning_rate": 0.003,
        "hidden": 128,
        "density": 0.05,
    }
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
