"""SET's evolution of a layer as Python programs without a compiled kernel do it.

The algorithm of Mocanu et al. 2018 in float64 on SciPy's matrices: sort the values, drop those
between a cut on either side of zero, and draw cells until enough are new. A kept link keeps its
velocity; a new one has a normal value of deviation 0.1 and no velocity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array, dok_array

DEVIATION = 0.1


class Layer(NamedTuple):
    """A layer's state: the velocity has entries at links only, and not at all of them."""

    weights: csr_array
    velocity: csr_array


def cuts(values: np.ndarray, fraction: float) -> tuple[float, float]:
    """The values between which, ends included, links go."""
    ordered = np.sort(values)
    zero = int(np.argmin(np.abs(ordered)))
    after = zero + 1
    upper = int(after + fraction * (len(ordered) - after))
    return ordered[int((1 - fraction) * zero)], ordered[min(upper, len(ordered) - 1)]


def evolve_links(layer: Layer, fraction: float, generator: np.random.Generator) -> Layer:
    """Link by link in dictionaries of keys, the plain way to write it."""
    old, velocity = layer.weights.todok(), layer.velocity.todok()
    lower, upper = cuts(layer.weights.data, fraction)
    new, carried = dok_array(old.shape), dok_array(old.shape)
    for cell, value in old.items():
        if value < lower or value > upper:
            new[cell] = value
            carried[cell] = velocity.get(cell, 0.0)
    while new.nnz < old.nnz:
        cell = tuple(generator.integers(old.shape))
        if cell not in new:
            new[cell] = generator.normal(0.0, DEVIATION)
    return Layer(new.tocsr(), carried.tocsr())


def evolve_arrays(
    layer: Layer,
    fraction: float,
    generator: np.random.Generator,
    *,
    names: Callable[[np.ndarray, tuple[int, int]], np.ndarray],
    assume_unique: bool,
) -> Layer:
    """On arrays of coordinates, with set operations on what ``names`` makes of them.

    No pair comes twice where others are looked up; ``assume_unique`` tells NumPy so, which saves
    it from looking.
    """
    old, velocity = layer.weights.tocoo(), layer.velocity.tocoo()
    lower, upper = cuts(old.data, fraction)
    keep = (old.data < lower) | (old.data > upper)
    kept, moving = coordinates(old)[keep], coordinates(velocity)
    taken = names(kept, old.shape)
    stays = np.isin(names(moving, old.shape), taken, assume_unique=assume_unique)
    missing = old.nnz - len(kept)
    new = kept[:0]
    while len(new) < missing:
        size = (missing - len(new), 2)
        drawn = generator.integers(old.shape, size=size, dtype=kept.dtype)
        new = np.concatenate([new, drawn])
        named, first = np.unique(names(new, old.shape), return_index=True)
        new = new[first[~np.isin(named, taken, assume_unique=assume_unique)]]
    values = generator.normal(0.0, DEVIATION, len(new))
    return Layer(
        matrix(np.concatenate([kept, new]), np.concatenate([old.data[keep], values]), old.shape),
        matrix(moving[stays], velocity.data[stays], old.shape),
    )


def records(pairs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Each pair as a record of two fields, in the same memory."""
    return pairs.view([("row", pairs.dtype), ("col", pairs.dtype)])[:, 0]


def keys(pairs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Each pair as one integer of 64 bits, which NumPy sorts faster than records."""
    return np.ravel_multi_index(tuple(pairs.T), shape)


evolve_records = partial(evolve_arrays, names=records, assume_unique=False)
evolve_keys = partial(evolve_arrays, names=keys, assume_unique=True)


def coordinates(entries: coo_array) -> np.ndarray:
    """Row and column of each entry, ``[nnz, 2]``."""
    return np.stack([entries.row, entries.col], axis=1)


def matrix(pairs: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """The matrix with these entries."""
    return coo_array((values, tuple(pairs.T)), shape=shape).tocsr()
