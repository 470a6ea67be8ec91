"""What else the records of a tracker tell of a wiring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Rewired

#: One rewiring of one weight, in numbers; see :class:`Tracker`.
Record = dict[str, object]


@dataclass(frozen=True)
class Measure(ABC):
    """Adds entries to a tracker's records. A measure of your own is a subclass with one method.

    Attributes:
        every: rewirings of a weight from one measurement to the next, at least 1.

    Raises:
        ValueError: it is less.
    """

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"expected every of at least 1 rewiring, found {self.every}")

    @abstractmethod
    def of(self, weight: SparseWeight, rewired: Rewired) -> Record:
        """The entries, of values that JSON knows; none where the weight has no such thing.

        Args:
            weight: after the rewiring.
            rewired: what has changed.
        """
