"""Japanese vowels task: name the speaker of a vowel from its spectrum along time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Classification, Examples


@dataclass(frozen=True)
class JapaneseVowels(Sequences, Classification):
    """Japanese vowels (Kudo et al. 1999), which aeon ships: sequences of unequal lengths.

    Nine speakers, twelve cepstral coefficients, 7 to 29 steps. Of the 270 training sequences every
    fifth is for validation; the 370 test sequences are the published ones. The metric is the
    fraction of sequences whose speaker is named right.
    """

    name = "japanese-vowels"
    summary = "speaker of a vowel, from sequences of unequal lengths"
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 700,
        "every": 35,
        "evaluate_every": 35,
        "learning_rate": 0.003,
        "hidden": 128,
        "density": 0.05,
    }
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
