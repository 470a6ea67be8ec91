"""Base classes of tasks with examples: an input and a target each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.lab.tasks.task import Step, Task, check_shares, seeded


@dataclass(frozen=True)
class Examples:
    """Examples in the order of the data set.

    Attributes:
        inputs: ``[examples, ...]``: sequences of features ``[examples, steps, features]``, of
            integers ``[examples, steps]``, or vectors ``[examples, features]``.
        targets: ``[examples, ...]``: int64 classes, one for each example or step, or values.
        lengths: number of steps of each sequence, ``[examples]`` int64, where they differ.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, chosen: Tensor | slice) -> Examples:
        """Return some of the examples."""
        lengths = None if self.lengths is None else self.lengths[chosen]
        return Examples(self.inputs[chosen], self.targets[chosen], lengths)


@dataclass(frozen=True)
class Supervised(Task):
    """Task with a fixed set of examples in each split.

    Every epoch visits the training examples in a new random order. The last examples of an epoch
    that do not fill a batch are left out.
    """

    batch_size: int = 32
    """Examples in a batch."""

    #: Whether inputs are sequences, which models take with time first.
    sequences: ClassVar[bool] = True
    #: Most examples that an evaluation puts into one batch.
    most_evaluated: ClassVar[int] = 512

    @abstractmethod
    def load(self) -> Mapping[str, Examples]:
        """Read and split the data: ``train`` and each of ``splits``."""

    @cached_property
    def examples(self) -> Mapping[str, Examples]:
        """The examples of every split."""
        return self.load()

    def prepare(self) -> None:
        """Read the data."""
        _ = self.examples

    @property
    def batches(self) -> int:
        """The number of batches in an epoch."""
        count = len(self.examples["train"])
        if not 1 <= self.batch_size <= count:
            raise ValueError(
                f"expected batch_size of 1 to {count:,}, the number of training examples of "
                f"{self.name}, found {self.batch_size}"
            )
        return count // self.batch_size

    def check_ranks(self, ranks: int) -> None:
        """Raise ValueError for a batch that ranks cannot share equally."""
        check_shares(self.batch_size, ranks)

    def batch(self, step: Step) -> Examples:
        """Return this rank's share of the examples of a step."""
        epoch, number = divmod(step.number, self.batches)
        order = _order(len(self.examples["train"]), step.seed, epoch)
        start = number * self.batch_size
        chosen = order[start : start + self.batch_size]
        return self.examples["train"][chosen[step.share(self.batch_size)]]

    def outputs(self, model: nn.Module, examples: Examples) -> Tensor:
        """Return the model's outputs, examples first."""
        if not self.sequences:
            return model(examples.inputs)
        inputs = examples.inputs.transpose(0, 1)
        if examples.lengths is None:
            outputs = model(inputs)
        else:
            outputs = model(inputs, lengths=examples.lengths)
        return outputs.transpose(0, 1) if outputs.dim() == 3 else outputs

    @abstractmethod
    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the mean of each measure over the examples; ``loss`` is what training descends."""

    def loss(self, model: nn.Module, step: Step) -> Tensor:
        """Return the mean loss over the examples of the step's batch."""
        examples = self.batch(step)
        return self.measures(self.outputs(model, examples), examples.targets)["loss"]

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: str = "validation") -> dict[str, float]:
        """Return the mean of each measure over the examples of a split."""
        examples = self.examples[split]
        totals: dict[str, float] = {}
        for start in range(0, len(examples), self.most_evaluated):
            part = examples[start : start + self.most_evaluated]
            means = self.measures(self.outputs(model, part), part.targets)
            for name, mean in means.items():
                totals[name] = totals.get(name, 0.0) + mean.item() * len(part)
        return {name: total / len(examples) for name, total in totals.items()}


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=seeded(seed, epoch))


class Classification(Supervised):
    """Task of naming the class of each example, or of each step of a sequence."""

    metric = "accuracy"
    higher_is_better = True

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy and the fraction of right classes."""
        logits, classes = outputs.flatten(0, -2), targets.flatten()
        right = logits.argmax(1) == classes
        return {
            "loss": nn.functional.cross_entropy(logits, classes),
            "accuracy": right.double().mean(),
        }


class Regression(Supervised):
    """Task of naming one or several values for each example."""

    metric = "mse"

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error."""
        error = nn.functional.mse_loss(outputs, targets)
        return {"loss": error, "mse": error.detach()}


def split(examples: Examples, order: Tensor, **sizes: int) -> dict[str, Examples]:
    """Cut examples in a given order into parts of given sizes; the rest is ``train``.

    Example:
        >>> split(examples, torch.randperm(605), validation=60, test=90)
    """
    parts, start = {}, 0
    for name, size in sizes.items():
        parts[name] = examples[order[start : start + size]]
        start += size
    return {"train": examples[order[start:]], **parts}
