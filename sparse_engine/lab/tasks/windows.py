"""Long recordings cut into overlapping windows, with a label for each step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sparse_engine.lab.tasks.files import FromFiles
from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Classification, Examples, split


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
