"""Tasks whose examples are drawn at random: adding, copying, and matching after a pause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.lab.tasks.sequences import Generated
from sparse_engine.lab.tasks.supervised import Classification, Examples, Regression


@dataclass(frozen=True)
class Adding(Generated, Regression):
    """Adding problem (Hochreiter & Schmidhuber 1997) in the form of Le et al. (2015).

    Each step has a number drawn from U(0, 1) and a mark, which is 1 at one random step of the first
    half and at one of the second half, otherwise 0. The target is the sum of the two marked
    numbers. The metric is the mean squared error; always answering 1 has 1/6.
    """

    length: int = 100
    """Steps of a sequence."""

    name = "adding"
    summary = "sum of the two marked numbers among many"
    recipe: ClassVar[dict[str, Any]] = dict(
        steps=3000, every=100, learning_rate=0.005, cell="gru", hidden=64, density=0.2
    )
    least = Generated.least | {"length": 2}
    features: ClassVar[int] = 2
    answers: ClassVar[int] = 1

    @property
    def steps(self) -> int:
        """The number of steps of a sequence."""
        return self.length

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Draw sequences ``[count, length, 2]`` and their sums ``[count, 1]``."""
        half = self.length // 2
        numbers = torch.rand(count, self.length, generator=generator)
        first = torch.randint(half, (count, 1), generator=generator)
        second = torch.randint(half, self.length, (count, 1), generator=generator)
        places = torch.cat([first, second], 1)
        marks = torch.zeros_like(numbers).scatter_(1, places, 1.0)
        sums = numbers.gather(1, places).sum(1, keepdim=True)
        return Examples(torch.stack([numbers, marks], 2), sums)


@dataclass(frozen=True)
class AnswersAtEnd(Generated, Classification):
    """Task whose loss counts all steps, and whose accuracy those in which answers are due."""

    every_step = True
    #: The number of steps at the end in which answers are due.
    answer_steps: ClassVar[int]

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of all steps and the fraction of right answers."""
        last = slice(-self.answer_steps, None)
        answers = super().measures(outputs[:, last], targets[:, last])
        return super().measures(outputs, targets) | {"accuracy": answers["accuracy"]}


@dataclass(frozen=True)
class CopyMemory(AnswersAtEnd):
    """Copy memory task (Hochreiter & Schmidhuber 1997) in the form of Arjovsky et al. (2016).

    A sequence is ten random symbols of eight, ``delay - 1`` blanks, a sign to begin, and ten
    blanks, all one-hot. The target is blank at every step but the last ten, which repeat the
    symbols. The loss is the cross-entropy of all steps; without memory it is
    ``10 ln 8 / (delay + 20)``. The metric is the fraction of right symbols in the last ten steps,
    1/8 by chance.
    """

    delay: int = 100
    """Steps from the last symbol to the sign after which it is to be repeated."""

    name = "copy-memory"
    summary = "repeat ten symbols after a long pause"
    recipe: ClassVar[dict[str, Any]] = dict(
        steps=5000, every=100, learning_rate=0.003, cell="gru", hidden=128, density=0.1
    )
    #: The number of symbols in a sequence.
    answer_steps: ClassVar[int] = 10
    #: The number of different symbols; the next two inputs are the blank and the sign.
    symbols: ClassVar[int] = 8
    least = Generated.least | {"delay": 1}
    features: ClassVar[int] = 10
    answers: ClassVar[int] = 9

    @property
    def steps(self) -> int:
        """The number of steps of a sequence."""
        return self.delay + 2 * self.answer_steps

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Draw sequences ``[count, delay + 20, 10]`` and their classes ``[count, delay + 20]``."""
        first, blank, sign = self.answer_steps, self.symbols, self.symbols + 1
        words = torch.randint(self.symbols, (count, first), generator=generator)
        inputs = torch.full((count, self.steps), blank)
        inputs[:, :first] = words
        inputs[:, first + self.delay - 1] = sign
        targets = torch.full((count, self.steps), blank)
        targets[:, -first:] = words
        one_hot = nn.functional.one_hot(inputs, self.features).to(torch.get_default_dtype())
        return Examples(one_hot, targets)


@dataclass(frozen=True)
class DelayedMatch(AnswersAtEnd):
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
    recipe: ClassVar[dict[str, Any]] = dict(
        steps=2000, every=50, learning_rate=0.003, cell="gru", hidden=64, density=0.2
    )
    #: The number of directions, and of inputs in the ring.
    directions: ClassVar[int] = 8
    least = Generated.least | {"delay": 0, "noise": 0}
    features: ClassVar[int] = 9
    answers: ClassVar[int] = 3
    fixation_steps: ClassVar[int] = 3
    stimulus_steps: ClassVar[int] = 5
    answer_steps: ClassVar[int] = 9

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
