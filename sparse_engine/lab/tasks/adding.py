"""Adding problem: the sum of the two marked numbers among many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.sequences import Generated
from sparse_engine.lab.tasks.supervised import Examples, Regression


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
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 3000,
        "every": 100,
        "evaluate_every": 100,
        "learning_rate": 0.005,
        "cell": "gru",
        "hidden": 64,
        "density": 0.2,
    }
    features: ClassVar[int] = 2
    answers: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 2:
            raise ValueError(f"expected length of at least 2, found {self.length}")

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
