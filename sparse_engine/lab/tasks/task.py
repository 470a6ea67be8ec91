"""Base class of training tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.lab.networks import Network, RecurrentNetwork


@dataclass
class Step:
    """One training step, as a task sees it.

    Attributes:
        number: number of the step, from 0.
        seed: seed of the run.
        memory: tensors that last from step to step, such as carried states. The task may add and
            replace entries, which checkpoints save.
        rate: factor of the learning rate for this step; the task may change it.
        rank: number of this process among those that train the model together.
        ranks: number of these processes.
    """

    number: int
    seed: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)
    rate: float = 1.0
    rank: int = 0
    ranks: int = 1

    def generator(self) -> torch.Generator:
        """Return a generator of random numbers that follows from the seed, step and rank alone."""
        return seeded(self.seed, self.number, *([self.rank] if self.rank else []))

    def share(self, count: int) -> slice:
        """Return this rank's share of the ``count`` examples of the step's batch."""
        size = count // self.ranks
        return slice(self.rank * size, (self.rank + 1) * size)


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator of random numbers that follows from all the numbers."""
    state = 0
    for number in numbers:
        # The multiplier and increment of Knuth's MMIX generator spread neighbouring numbers.
        state = (state ^ number) * 6364136223846793005 + 1442695040888963407
    return torch.Generator().manual_seed(state & (2**63 - 1))


def check_shares(batch_size: int, ranks: int) -> None:
    """Raise ValueError for a batch that ranks cannot share equally."""
    if batch_size % ranks:
        raise ValueError(
            f"expected a batch that {ranks} ranks share equally, found {batch_size} examples in it"
        )


@dataclass(frozen=True)
class Task(ABC):
    """Data, model, loss and metric of a task. A new task is a subclass in its own file.

    A task is a frozen dataclass of plain settings, which the command line and config.json show.
    Batches follow from the step's number and seed alone, so that a resumed run sees the same data
    as one that never stopped. docs/tasks.md shows how to write a task.

    Attributes:
        name: name of the task on the command line.
        summary: description in a few words.
        metric: name of the entry of :meth:`evaluate` that tells models apart.
        higher_is_better: whether a greater metric is a better one.
        splits: names of the parts of the data that :meth:`evaluate` knows.
        network: kind of network that :meth:`build` takes.
        recipe: published settings of a run of this task, by their names on the command line. A
            recipe without ``evaluate_every`` evaluates at each rewiring.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    metric: ClassVar[str]
    higher_is_better: ClassVar[bool] = False
    splits: ClassVar[tuple[str, ...]] = ("validation", "test")
    network: ClassVar[type[Network]] = RecurrentNetwork
    recipe: ClassVar[Mapping[str, Any]] = {}

    def prepare(self) -> None:  # noqa: B027
        """Read the data, so that files that cannot be read are refused before a run begins."""

    def check_ranks(self, ranks: int) -> None:
        """Raise ValueError where :meth:`loss` cannot share a batch among ranks.

        A task whose loss is a mean over ``step.share(batch_size)`` returns :func:`check_shares`.
        """
        if ranks > 1:
            raise ValueError(
                f"expected a task that shares its batches among ranks, found {self.name}; train it "
                "in one process"
            )

    @abstractmethod
    def build(self, network: Any, *, generator: torch.Generator) -> nn.Module:
        """Make a new model from the description of its network.

        Args:
            network: description of the kind that the attribute ``network`` names.
            generator: source of randomness on the CPU.
        """

    @abstractmethod
    def loss(self, model: nn.Module, step: Step) -> Tensor:
        """Return the differentiable loss on the batch of a step."""

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str = "validation") -> dict[str, float]:
        """Return metrics of a model in evaluation mode on a split of the data, by name."""
