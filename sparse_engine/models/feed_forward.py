"""Numbers of links of feed-forward networks, with given densities or of SET's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from sparse_engine.nn import _initial


def set_density(epsilon: float, *sizes: int) -> float:
    """Return the density of all layers together with SET's size, ``epsilon * (in + out)`` links.

    A layer has at most as many links as positions.

    Args:
        epsilon: the size.
        *sizes: number of inputs, of units of each hidden layer, and of outputs.

    Raises:
        ValueError: epsilon is not positive and finite.

    Example:
        >>> round(set_density(20, 784, 1000, 10), 4)
        0.0575
    """
    layers = [*pairwise(sizes)]
    links = sum(_initial.epsilon_nnz(outputs, inputs, epsilon) for inputs, outputs in layers)
    return links / sum(inputs * outputs for inputs, outputs in layers)


def layer_links(
    sizes: Sequence[int], density: float | Sequence[float] | None, epsilon: float | None
) -> list[int]:
    """Return the number of links of each layer with given densities, or of SET's size.

    Args:
        sizes: number of inputs, of units of each hidden layer, and of outputs.
        density: density of all layers, or of each; or None.
        epsilon: SET's size; or None.
    """
    layers = [*pairwise(sizes)]
    if (density is None) == (epsilon is None):
        raise ValueError("expected exactly one of density and epsilon, found both or none")
    if epsilon is not None:
        return [_initial.epsilon_nnz(outputs, inputs, epsilon) for inputs, outputs in layers]
    assert density is not None
    each = [density] * len(layers) if isinstance(density, float | int) else [*density]
    if len(each) != len(layers):
        raise ValueError(f"expected a density for each of {len(layers)} layers, found {len(each)}")
    return [
        _initial.density_nnz(outputs, inputs, own)
        for own, (inputs, outputs) in zip(each, layers, strict=True)
    ]


def check_std(initial_std: float | None) -> None:
    """Raise ValueError for a standard deviation of initial weights that is none."""
    if initial_std is not None and not 0 <= initial_std < math.inf:
        raise ValueError(f"expected a finite initial_std of at least 0, found {initial_std}")
