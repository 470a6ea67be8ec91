"""What a training task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

#: Makes the recurrent part of a model from the number of its inputs.
RecurrentFactory = Callable[[int], nn.Module]


class Task(ABC):
    """Data, model and loss of one task. A new task is a subclass in a file of its own.

    Batches are a function of the step alone, so that a resumed run sees the data that it would
    have seen.
    """

    #: The name of the task's command.
    name: ClassVar[str]
    #: What the number that :meth:`evaluate` returns is called.
    metric: ClassVar[str]
    #: Time steps times sequences of a batch: a training step keeps so many states of each unit.
    positions: ClassVar[int] = 1

    @abstractmethod
    def build(self, recurrent: RecurrentFactory, *, generator: torch.Generator) -> nn.Module:
        """A fresh model whose submodule ``recurrent`` is what the factory makes."""

    @abstractmethod
    def loss(self, model: nn.Module, step: int) -> Tensor:
        """The differentiable loss on the batch that belongs to a step."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> float:
        """The metric on held-out data; lower is better."""
