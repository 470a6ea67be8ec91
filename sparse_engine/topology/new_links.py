"""Value rules: what new links start with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, Use


class NewLinkInit(ABC):
    """Gives new links their first values. A rule of your own is a subclass with one method."""

    @abstractmethod
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """``[count]`` values, of the weight's dtype and device, for links in row-major order."""


@dataclass(frozen=True)
class ZeroInit(NewLinkInit):
    """New links start at 0: the function does not change, and the gradient finds the sign."""

    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """See :meth:`NewLinkInit.values`."""
        return weight.values.new_zeros(count)


@dataclass(frozen=True)
class NormalInit(NewLinkInit):
    """New links start at N(0, std), as in the original SET.

    Attributes:
        std: standard deviation, at least 0.
    """

    std: float

    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """See :meth:`NewLinkInit.values`."""
        drawn = self.std * key.generator(Use.NEW_LINKS).standard_normal(count)
        return torch.from_numpy(drawn).to(weight.values)
