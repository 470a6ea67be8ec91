"""Gesture task: the phase of a gesture at each step, from velocities of hands and wrists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.readers import read_lines
from sparse_engine.lab.tasks.windows import Windows

ADDRESS = "https://archive.ics.uci.edu/static/public/302/gesture+phase+segmentation.zip"
#: Names of the seven videos, in the order of the published split.
VIDEOS = ("a3", "b1", "b3", "c1", "c3", "a2", "a1")
#: Classes of rest position, preparation, stroke, hold and retraction, by their names in the files.
PHASES = {"D": 0, "P": 1, "S": 2, "H": 3, "R": 4}


@dataclass(frozen=True)
class Gesture(Windows):
    """Gesture phase segmentation (Madeo et al. 2013) with the windows of Zhang et al. (2023).

    Seven videos of 9,873 frames give 605 windows of 32 frames: 60 for validation, 90 for test and
    455 for training, of which the 260 that overlap with none of the others remain. Each frame has
    32 features and one of five phases. The metric is the fraction of frames whose phase is right.

    The recipe is the published SET run, but for the learning rate, which was chosen by the
    validation windows of the published split.
    """

    name = "gesture"
    summary = "phase of a gesture at each step, from velocities of hands"
    split_seed = 23489
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 2814,
        "every": 14,
        "evaluate_every": 14,
        "learning_rate": 2e-2,
        "method": "set",
        "fraction": 0.1,
        "hidden": 128,
        "gain": 1.73,
        "unscaled": True,
        "input_std": 1.0,
        "readout_std": 1.0,
    }
    features: ClassVar[int] = 32
    answers: ClassVar[int] = 5

    def recordings(self) -> list[tuple[Tensor, Tensor]]:
        """Read the seven files."""
        return [self._read(video) for video in VIDEOS]

    def _read(self, video: str) -> tuple[Tensor, Tensor]:
        name = f"{video}_va3.csv"
        path = DataFile("gesture", name, ADDRESS, member=name).find(self.data)
        lines = read_lines(path, self.features + 1)
        next(lines, None)  # the header
        size = self.features
        rows = [(line.floats(0, size), line.one_of(PHASES, size)) for line in lines]
        if not rows:
            raise ValueError(f"expected a header and lines of numbers, found none in {path}")
        features, phases = zip(*rows, strict=True)
        return torch.tensor(features, dtype=torch.float64), torch.tensor(phases)
