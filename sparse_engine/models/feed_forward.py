"""Numbers of links and initial values of feed-forward networks, as their descriptions say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sparse_engine.models.limits import check_links
from sparse_engine.models.network import Network
from sparse_engine.nn import _initial_links


@dataclass(frozen=True)
class FeedForwardNetwork(Network):
    """Base of descriptions of feed-forward networks."""

    epsilon: float | None = None
    """Size of SET, epsilon * (inputs + outputs) links in each layer; where given, density does not
    matter."""
    initial_std: float | None = None
    """Standard deviation of normal initial weights, 0.1 in SET; by default weights are uniform,
    with a variance of 2 / links into the unit (He)."""

    def links(self) -> dict[str, float | None]:
        """Return density and epsilon as the arguments of a layer: one of them is None."""
        given = self.epsilon is not None
        return {"density": None if given else self.density, "epsilon": self.epsilon}

    def check_size(self, sizes: Sequence[int]) -> None:
        """Raise ValueError where layers of these numbers of units do not fit into memory."""
        links = sum(number_of_links(*layer, **self.links()) for layer in pairwise(sizes))
        check_links(links, sum(sizes))


def number_of_links(inputs: int, outputs: int, density: float | None, epsilon: float | None) -> int:
    """Return the number of links of a layer with a density, or of SET's size.

    Raises:
        ValueError: not exactly one of density and epsilon, or one out of range.
    """
    if (density is None) == (epsilon is None):
        raise ValueError("expected exactly one of density and epsilon")
    if epsilon is not None:
        return _initial_links.epsilon_nnz(outputs, inputs, epsilon)
    assert density is not None
    return _initial_links.density_nnz(outputs, inputs, density)


def check_std(initial_std: float | None) -> None:
    """Raise ValueError for a standard deviation of initial weights that is none."""
    if initial_std is not None and not 0 <= initial_std < math.inf:
        raise ValueError(f"expected a finite initial_std of at least 0, found {initial_std}")
