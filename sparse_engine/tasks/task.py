"""Base class of training tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.nn import Recurrent

#: Function that makes the recurrent part of a model for a number of inputs.
RecurrentFactory = Callable[[int], Recurrent]


class Task(ABC):
    """Data, model, loss and metric of a task. A new task is a subclass in its own file.

    Batches follow from the step alone, so that a resumed run sees the same data as one that never
    stopped.
    """

    #: The name of the task's command.
    name: ClassVar[str]
    #: The name of the number that :meth:`evaluate` returns.
    metric: ClassVar[str]
    #: Time steps times sequences of a batch: the number of states of each unit that training keeps.
    positions: ClassVar[int] = 1

    @abstractmethod
    def build(self, recurrent: RecurrentFactory, *, generator: torch.Generator) -> nn.Module:
        """Make a new model with the recurrent network of the factory as submodule ``recurrent``."""

    @abstractmethod
    def loss(self, model: nn.Module, step: int) -> Tensor:
        """Return the differentiable loss on the batch of a step."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> float:
        """Return the metric on held-out data; lower is better."""
