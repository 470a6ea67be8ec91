"""Copy memory task: repeat symbols after a long pause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.lab.tasks.sequences import Generated
from sparse_engine.lab.tasks.supervised import Classification, Examples


@dataclass(frozen=True)
class CopyMemory(Generated, Classification):
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
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 5000,
        "every": 100,
        "evaluate_every": 100,
        "learning_rate": 0.003,
        "cell": "gru",
        "hidden": 128,
        "density": 0.1,
    }
    every_step = True
    #: The number of symbols in a sequence.
    remembered: ClassVar[int] = 10
    #: The number of different symbols; the next two inputs are the blank and the sign.
    symbols: ClassVar[int] = 8
    features: ClassVar[int] = 10
    answers: ClassVar[int] = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay < 1:
            raise ValueError(f"expected delay of at least 1, found {self.delay}")

    @property
    def steps(self) -> int:
        """The number of steps of a sequence."""
        return self.delay + 2 * self.remembered

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Draw sequences ``[count, delay + 20, 10]`` and their classes ``[count, delay + 20]``."""
        first, blank, sign = self.remembered, self.symbols, self.symbols + 1
        words = torch.randint(self.symbols, (count, first), generator=generator)
        inputs = torch.full((count, self.steps), blank)
        inputs[:, :first] = words
        inputs[:, first + self.delay - 1] = sign
        targets = torch.full((count, self.steps), blank)
        targets[:, -first:] = words
        one_hot = nn.functional.one_hot(inputs, self.features).to(torch.get_default_dtype())
        return Examples(one_hot, targets)

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of all steps and the fraction of right symbols in the last."""
        last = slice(-self.remembered, None)
        recall = super().measures(outputs[:, last], targets[:, last])
        return super().measures(outputs, targets) | {"accuracy": recall["accuracy"]}
