"""Value rules: the first values of new links."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, Use


class NewLinkInit(ABC):
    """Value rule: the first values of new links. Your own is a subclass with one method."""

    @abstractmethod
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        """Return ``[count]`` values of the weight's dtype and device, in the order of the links."""


@dataclass(frozen=True)
class ZeroInit(NewLinkInit):
    """Start at 0: the network's function does not change, and the gradient finds the sign."""

    @override
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        return weight.values.new_zeros(count)


@dataclass(frozen=True)
class NormalInit(NewLinkInit):
    """Start at N(0, std), as in the original SET.

    Attributes:
        std: standard deviation, at least 0.
    """

    std: float

    @override
    def values(self, weight: SparseWeight, count: int, key: RandomKey) -> Tensor:
        drawn = self.std * key.generator(Use.NEW_LINKS).standard_normal(count)
        return torch.from_numpy(drawn).to(weight.values)
