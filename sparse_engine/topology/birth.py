"""Value rules: what a new link starts with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey


class Birth(ABC):
    """Gives new links their first values. A rule of your own is a subclass with one method."""

    @abstractmethod
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """``[count]`` values, of the weight's dtype and device, for links in row-major order."""


@dataclass(frozen=True)
class Zero(Birth):
    """New links start at 0: the function does not change, and the gradient finds the sign."""

    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Birth.values`."""
        return weight.values.new_zeros(count)


@dataclass(frozen=True)
class Normal(Birth):
    """New links start at N(0, std), as in the original SET.

    Attributes:
        std: standard deviation, at least 0.
    """

    std: float

    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Birth.values`."""
        generator = torch.Generator().manual_seed(hash(key) % 2**63)
        drawn = torch.randn(count, generator=generator, dtype=weight.values.dtype, device="cpu")
        return (self.std * drawn).to(weight.values.device)
