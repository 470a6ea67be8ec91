"""Base classes of tasks of sequences, read by a recurrent network: of a data set, or drawn."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks.supervised import Classification, Examples, Supervised
from sparse_engine.lab.tasks.task import Step, seeded
from sparse_engine.models import SequenceModel

#: Settings of the published SET runs of Zhang et al. (2023).
ZHANG_RECIPE: dict[str, Any] = {"method": "set", "fraction": 0.1, "gain": 1.73, "unscaled": True}
#: Settings of small networks, which are not published.
SMALL_RECIPE: dict[str, Any] = {"learning_rate": 0.003, "hidden": 128, "density": 0.05}


@dataclass(frozen=True)
class Sequences(Supervised):
    """Supervised task with sequences of features, read by a recurrent network.

    The model is a :class:`sparse_engine.models.SequenceModel`: a linear readout of the last state,
    or of every state where ``every_step`` is True.
    """

    #: Whether each step of a sequence has a target of its own.
    every_step = False

    @property
    @abstractmethod
    def features(self) -> int:
        """The number of features of a step."""

    @property
    @abstractmethod
    def answers(self) -> int:
        """The number of the model's outputs: classes or values."""

    def build(self, network: RecurrentNetwork, *, generator: torch.Generator) -> SequenceModel:
        """Make a recurrent network with a linear readout."""
        return self.model(network, generator=generator)

    def model(
        self,
        network: RecurrentNetwork,
        *,
        embedding: nn.Module | None = None,
        generator: torch.Generator,
    ) -> SequenceModel:
        """Make a recurrent network with a linear readout, and an embedding before both if given."""
        longest = max(part.inputs.shape[1] for part in self.examples.values())
        return SequenceModel(
            network.recurrent(
                self.features, generator=generator, positions=longest * self.batch_size
            ),
            self.answers,
            every_step=self.every_step,
            embedding=embedding,
            step_dropout=network.step_dropout,
            readout_std=network.readout_std,
            generator=generator,
        )


@dataclass(frozen=True)
class ImageSequences(Sequences, Classification):
    """Task of naming square images that are read row by row or pixel by pixel."""

    pixels: bool = False
    """Whether a step is one pixel, and not one row."""

    #: Rows and columns of an image.
    side: ClassVar[int]

    @property
    def steps(self) -> int:
        """The number of steps: rows or pixels."""
        return self.side**2 if self.pixels else self.side

    @property
    def features(self) -> int:
        """The number of pixels in a step."""
        return self.side**2 // self.steps


@dataclass(frozen=True)
class Generated(Sequences):
    """Task with new random examples at each step, and fixed ones for validation and test."""

    held_out: int = 1000
    """Examples for validation, and as many for test."""

    #: Least values of settings.
    least: ClassVar[dict[str, float]] = {"batch_size": 1, "held_out": 1}

    def __post_init__(self) -> None:
        for name, bound in self.least.items():
            if not bound <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"expected {name} of at least {bound}, found {getattr(self, name)}"
                )

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Draw examples."""

    def load(self) -> Mapping[str, Examples]:
        """Draw the examples of the splits, which are the same in every run."""
        return {
            name: self.draw(self.held_out, seeded(number))
            for number, name in enumerate(self.splits)
        }

    def batch(self, step: Step) -> Examples:
        """Draw the examples of a step."""
        return self.draw(self.batch_size, step.generator())
