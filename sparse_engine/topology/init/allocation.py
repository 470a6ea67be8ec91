"""Allocation: how many links each weight of a model has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from sparse_engine.nn import _initial
from sparse_engine.topology.apportion import apportion_logs

Shapes = Sequence[tuple[int, int]]


class Allocation(ABC):
    """Allocation of links to weights. An allocation of your own is a subclass with one method."""

    @abstractmethod
    def counts(self, shapes: Shapes) -> list[int]:
        """Return the number of links of each weight.

        Args:
            shapes: ``(out_features, in_features)`` of each weight.
        """


@dataclass(frozen=True)
class ERKDensity(Allocation):
    """Erdos-Renyi-kernel density (Evci et al., ICML 2020; for matrices as in Mocanu et al. 2018).

    A weight has ``epsilon * (out + in)`` links, so that small weights are denser. Weights that
    would have more links than positions are dense, and the others share the rest by the same rule.
    The total is exactly ``round(density * all positions)``, and epsilon follows from the total.

    Attributes:
        density: density of all weights together, in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    density: float

    def __post_init__(self) -> None:
        _initial.check_density(self.density)

    @override
    def counts(self, shapes: Shapes) -> list[int]:
        sums = np.array([max(1, out + inputs) for out, inputs in shapes], np.float64)
        return _share(self.density, sums, shapes)


@dataclass(frozen=True)
class EqualDensity(Allocation):
    """Equal densities, rounded to links; in total ``round(density * all positions)`` links.

    Attributes:
        density: density of each weight, in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    density: float

    def __post_init__(self) -> None:
        _initial.check_density(self.density)

    @override
    def counts(self, shapes: Shapes) -> list[int]:
        positions = np.array([max(1, out * inputs) for out, inputs in shapes], np.float64)
        return _share(self.density, positions, shapes)


def _share(density: float, weights: np.ndarray, shapes: Shapes) -> list[int]:
    positions = [out * inputs for out, inputs in shapes]
    return apportion_logs(
        round(density * sum(positions)), np.log(weights), np.array(positions)
    ).tolist()
