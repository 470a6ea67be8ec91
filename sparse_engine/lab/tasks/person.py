"""Person task: what a person does at each step, from the positions of tags on the body."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.readers import Line, read_lines
from sparse_engine.lab.tasks.windows import Windows

FILE = DataFile(
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
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 11_413,
        "every": 113,
        "evaluate_every": 113,
        "learning_rate": 5e-3,
        "method": "set",
        "fraction": 0.1,
        "cell": "neural_ode",
        "hidden": 64,
        "gain": 1.73,
        "unscaled": True,
    }
    features: ClassVar[int] = 7
    answers: ClassVar[int] = 7

    def recordings(self) -> list[tuple[Tensor, Tensor]]:
        """Read the recordings: consecutive lines of the same name."""
        path = FILE.find(self.data)
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
