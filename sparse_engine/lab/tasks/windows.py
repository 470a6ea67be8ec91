"""Recordings cut into overlapping windows, with a label for each step: gestures and persons."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import Line, read_lines
from sparse_engine.lab.tasks.sequences import ZHANG_RECIPE, Sequences
from sparse_engine.lab.tasks.supervised import Classification, Examples, split

GESTURES = "https://archive.ics.uci.edu/static/public/302/gesture+phase+segmentation.zip"
#: Names of the seven videos, in the order of the published split.
VIDEOS = ("a3", "b1", "b3", "c1", "c3", "a2", "a1")
#: Classes of rest position, preparation, stroke, hold and retraction, by their names in the files.
PHASES = {"D": 0, "P": 1, "S": 2, "H": 3, "R": 4}
PERSON_FILE = DataFile(
    "person",
    "ConfLongDemo_JSI.txt",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00196/ConfLongDemo_JSI.txt",
)
#: Tags at the left ankle, right ankle, chest and belt.
TAGS = {
    "010-000-024-033": 0,
    "010-000-030-096": 1,
    "020-000-033-111": 2,
    "020-000-032-221": 3,
}
#: The eleven activities of the file, joined into seven classes.
ACTIVITIES = {
    "lying": 0,
    "lying down": 0,
    "sitting": 1,
    "sitting down": 1,
    "standing up from lying": 2,
    "standing up from sitting": 2,
    "standing up from sitting on the ground": 2,
    "walking": 3,
    "falling": 4,
    "on all fours": 5,
    "sitting on the ground": 6,
}


@dataclass(frozen=True)
class Windows(FromFiles, Sequences, Classification):
    """Classification of every step of recordings that are cut into windows.

    Windows of 32 steps begin every 16 steps of a recording. A tenth of them, in an order drawn by
    NumPy's RandomState, are the validation windows, 15 % the test windows. Neighbours overlap:
    windows that share a step with a validation or test window are left out of training, and
    features are standardized by the mean and standard deviation of the training windows.
    """

    faithful: bool = False
    """Whether to keep the published flaws: windows that overlap with held-out ones are trained on,
    and statistics are those of all windows."""

    every_step = True
    steps: ClassVar[int] = 32
    #: Seed of the published split.
    split_seed: ClassVar[int]

    @abstractmethod
    def recordings(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Read the features ``[steps, features]`` and classes ``[steps]`` of each recording."""

    def statistics_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and deviation to standardize by, of features ``[steps, features]``."""
        spread = features.std(0, correction=0)
        return features.mean(0), torch.where(spread > 0, spread, 1.0)

    def load(self) -> Mapping[str, Examples]:
        """Cut the recordings into windows and split them."""
        recordings = self.recordings()
        features = torch.cat([x for x, _ in recordings])
        classes = torch.cat([y for _, y in recordings])
        covered = window_steps([len(y) for _, y in recordings], self.steps)
        count = len(covered)
        order = torch.from_numpy(np.random.RandomState(self.split_seed).permutation(count))
        windows = Examples(covered, classes[covered])
        parts = split(windows, order, validation=int(0.1 * count), test=int(0.15 * count))
        if not self.faithful:
            parts["train"] = apart(parts["train"], parts["validation"], parts["test"])
        if not all(map(len, parts.values())):
            found = ", ".join(f"{len(part)} for {name}" for name, part in parts.items())
            raise ValueError(f"expected windows for each split of {self.name}, found {found}")
        counted = covered if self.faithful else parts["train"].inputs
        mean, spread = self.statistics_of(features[counted].flatten(0, 1))
        features = ((features - mean) / spread).to(torch.get_default_dtype())
        return {name: Examples(features[part.inputs], part.targets) for name, part in parts.items()}


def window_steps(sizes: Sequence[int], length: int) -> Tensor:
    """Return the numbers of the steps that each window covers, int64 ``[windows, length]``.

    Windows begin every ``length / 2`` steps of a recording. They cover its first
    ``length * (steps // length)`` steps, and no window covers steps of two recordings. Steps are
    numbered through all recordings, of the given sizes.
    """
    parts, start = [torch.empty(0, length, dtype=torch.int64)], 0
    for size in sizes:
        whole = size - size % length
        if whole:
            parts.append(torch.arange(start, start + whole).unfold(0, length, length // 2))
        start += size
    return torch.cat(parts)


def apart(windows: Examples, *others: Examples) -> Examples:
    """Return the windows that share no step with other windows; inputs are numbers of steps."""
    last = max(int(part.inputs.max()) for part in (windows, *others) if len(part))
    taken = torch.zeros(last + 1, dtype=torch.bool)
    for part in others:
        taken[part.inputs] = True
    return windows[~taken[windows.inputs].any(1)]


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
        **ZHANG_RECIPE,
        "steps": 2814,
        "every": 14,
        "learning_rate": 2e-2,
        "hidden": 128,
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
        path = DataFile("gesture", name, GESTURES, member=name).find(self.data)
        lines = read_lines(path, self.features + 1)
        next(lines, None)  # the header
        size = self.features
        rows = [(line.floats(0, size), line.one_of(PHASES, size)) for line in lines]
        if not rows:
            raise ValueError(f"expected a header and lines of numbers, found none in {path}")
        features, phases = zip(*rows, strict=True)
        return torch.tensor(features, dtype=torch.float64), torch.tensor(phases)


@dataclass(frozen=True)
class Person(Windows):
    """Localization data for person activity (Kaluza et al. 2010), as Zhang et al. (2023) cut them.

    A step is one reading of one of four tags: which tag, and where it is in three dimensions. The
    25 recordings have 164,860 steps. The published flaws are that windows of different splits
    overlap, that positions are not standardized, and that the last recording is lost. The recipe
    has the published neural ODE, rewired by SET.
    """

    faithful: bool = False
    """Whether to keep the published flaws: windows that overlap with held-out ones are trained on,
    features are not standardized, and the last recording is lost."""
    batch_size: int = 64
    """Windows in a batch."""

    name = "person"
    summary = "activity of a person at each step, from positions of four tags"
    split_seed = 27731
    recipe: ClassVar[dict[str, Any]] = dict(
        **ZHANG_RECIPE, steps=11_413, every=113, learning_rate=5e-3, cell="neural_ode", hidden=64
    )
    features: ClassVar[int] = 7
    answers: ClassVar[int] = 7

    def recordings(self) -> list[tuple[Tensor, Tensor]]:
        """Read the recordings: consecutive lines of the same name."""
        path = PERSON_FILE.find(self.data)
        lines = groupby(read_lines(path, 8), key=lambda line: line.fields[0])
        found = [_recording(list(group)) for _, group in lines]
        kept = found[:-1] if self.faithful else found
        if not kept:
            raise ValueError(f"expected recordings, found {len(found)} in {path}")
        return kept

    def statistics_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation; 0 and 1 if faithful."""
        if self.faithful:
            return torch.zeros(self.features), torch.ones(self.features)
        return super().statistics_of(features)


def _recording(lines: list[Line]) -> tuple[Tensor, Tensor]:
    tags = torch.tensor([line.one_of(TAGS, 1) for line in lines])
    positions = torch.tensor([line.floats(4, 7) for line in lines], dtype=torch.float64)
    classes = torch.tensor([line.one_of(ACTIVITIES, 7) for line in lines])
    return torch.cat([torch.nn.functional.one_hot(tags, len(TAGS)), positions], 1), classes
