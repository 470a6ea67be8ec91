"""Base class of tasks whose examples are drawn at random."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sparse_engine.lab.tasks.sequences import Sequences
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.lab.tasks.task import Step, seeded


@dataclass(frozen=True)
class Generated(Sequences):
    """Task with new random examples at each step, and fixed ones for validation and test."""

    held_out: int = 1000
    """Examples for validation, and as many for test."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "held_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, found {getattr(self, name)}")

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
