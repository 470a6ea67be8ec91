"""How many links each weight of a model has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_engine.nn import _init
from sparse_engine.topology.apportion import apportion_logs

Shapes = Sequence[tuple[int, int]]


class Allocation(ABC):
    """Shares links out over the weights of a model. One of your own is a subclass with a method."""

    @abstractmethod
    def counts(self, shapes: Shapes) -> list[int]:
        """The number of links of each weight.

        Args:
            shapes: ``(out_features, in_features)`` of each weight.
        """


@dataclass(frozen=True)
class ERKDensity(Allocation):
    """Erdos-Renyi-kernel (Evci et al., RigL, ICML 2020; for matrices that of Mocanu et al. 2018).

    A weight has ``epsilon * (out + in)`` links, so that small ones are denser. Weights that would
    have more links than cells are dense, and the others share the rest by the same rule; epsilon
    follows from the total, which is exactly ``round(density * all cells)``.

    Attributes:
        density: of all weights together, in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    density: float

    def __post_init__(self) -> None:
        _init.check_density(self.density)

    def counts(self, shapes: Shapes) -> list[int]:
        """See :meth:`Allocation.counts`."""
        sums = np.array([max(1, out + inputs) for out, inputs in shapes], np.float64)
        return _share(self.density, sums, shapes)


@dataclass(frozen=True)
class EqualDensity(Allocation):
    """The same density in every weight, to one link; in total ``round(density * all cells)``.

    Attributes:
        density: in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    density: float

    def __post_init__(self) -> None:
        _init.check_density(self.density)

    def counts(self, shapes: Shapes) -> list[int]:
        """See :meth:`Allocation.counts`."""
        cells = np.array([max(1, out * inputs) for out, inputs in shapes], np.float64)
        return _share(self.density, cells, shapes)


def _share(density: float, weights: np.ndarray, shapes: Shapes) -> list[int]:
    cells = [out * inputs for out, inputs in shapes]
    return apportion_logs(round(density * sum(cells)), np.log(weights), np.array(cells)).tolist()
