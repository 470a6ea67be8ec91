"""Delayed match to sample: whether a test stimulus equals the sample shown before a pause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.tasks.sequences import Generated
from sparse_engine.lab.tasks.supervised import Classification, Examples


@dataclass(frozen=True)
class DelayedMatch(Generated, Classification):
    """Delayed match to sample, the working-memory task of Miller et al. (1996).

    Stimuli are eight directions, shown to a ring of eight inputs: input i has the value
    ``(1 + cos(direction - 2 pi i / 8)) / 2``. One more input asks for fixation. A trial is fixation
    (3 steps), sample (5), pause (``delay``), test (5), and the answer (9), in which the fixation
    input is 0. Half of the tests are the sample, the others another direction. Each input has
    normal noise. The classes are 0 to fixate, 1 for match and 2 for no match, at each step; the
    metric is the fraction of right answers in the steps of the answer, 1/2 by chance.
    """

    delay: int = 10
    """Steps of the pause between sample and test."""
    noise: float = 0.1
    """Standard deviation of the noise of each input."""

    name = "delayed-match"
    summary = "whether a stimulus equals the one shown before a pause"
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 2000,
        "every": 50,
        "evaluate_every": 50,
        "learning_rate": 0.003,
        "cell": "gru",
        "hidden": 64,
        "density": 0.2,
    }
    every_step = True
    #: The number of directions, and of inputs in the ring.
    directions: ClassVar[int] = 8
    features: ClassVar[int] = 9
    answers: ClassVar[int] = 3
    fixation_steps: ClassVar[int] = 3
    stimulus_steps: ClassVar[int] = 5
    answer_steps: ClassVar[int] = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay < 0:
            raise ValueError(f"expected delay of at least 0, found {self.delay}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"expected noise of at least 0, found {self.noise}")

    @property
    def steps(self) -> int:
        """The number of steps of a trial."""
        shown = self.fixation_steps + 2 * self.stimulus_steps
        return shown + self.delay + self.answer_steps

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Draw trials ``[count, steps, 9]`` and their classes ``[count, steps]``."""
        sample = torch.randint(self.directions, (count,), generator=generator)
        match = torch.randint(2, (count,), generator=generator).bool()
        turn = torch.randint(1, self.directions, (count,), generator=generator)
        test = torch.where(match, sample, (sample + turn) % self.directions)

        inputs = self.noise * torch.randn(count, self.steps, self.features, generator=generator)
        begin = self.fixation_steps
        for direction in (sample, test):
            end = begin + self.stimulus_steps
            inputs[:, begin:end, 1:] += self._ring(direction)[:, None]
            begin = end + self.delay
        answer = self.steps - self.answer_steps
        inputs[:, :answer, 0] += 1
        targets = torch.zeros(count, self.steps, dtype=torch.int64)
        targets[:, answer:] = torch.where(match, 1, 2)[:, None]
        return Examples(inputs, targets)

    def _ring(self, direction: Tensor) -> Tensor:
        """Return what the ring of inputs sees of directions, ``[count, 8]``."""
        angle = 2 * math.pi / self.directions
        return (1 + torch.cos(angle * (direction[:, None] - torch.arange(self.directions)))) / 2

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of all steps and the fraction of right answers."""
        last = slice(-self.answer_steps, None)
        answers = super().measures(outputs[:, last], targets[:, last])
        return super().measures(outputs, targets) | {"accuracy": answers["accuracy"]}
