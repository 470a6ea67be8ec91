"""Distinct random numbers within groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def sample_groups(
    counts: ArrayLike, sizes: ArrayLike, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``counts[g]`` distinct, uniformly random integers below ``sizes[g]`` for every group.

    Equals ``rng.choice(sizes[g], counts[g], replace=False)`` for each g, in time and memory of
    the numbers drawn: of a group that is more than half full, those left out are drawn.

    Returns:
        int64, the group of each number, and the numbers, increasing within each group.
    """
    counts, sizes = np.asarray(counts, np.int64), np.asarray(sizes, np.int64)
    start = np.cumsum(sizes) - sizes
    inverted = counts > sizes - counts
    wanted = np.where(inverted, sizes - counts, counts)
    chosen = np.empty(0, np.int64)
    missing = wanted
    while missing.any():
        groups = np.repeat(np.arange(len(counts)), missing)
        drawn = start[groups] + rng.integers(0, sizes[groups])
        # The stable sort is a merge of the two sorted runs: linear, however few were missing.
        chosen = np.sort(np.concatenate([chosen, np.sort(drawn)]), kind="stable")
        chosen = chosen[np.diff(chosen, prepend=-1) > 0]
        missing = wanted - np.bincount(_group(chosen, start), minlength=len(counts))
    if inverted.any():
        left_out = inverted[_group(chosen, start)]
        full = _all_of(start[inverted], sizes[inverted])
        taken = np.setdiff1d(full, chosen[left_out], assume_unique=True)
        chosen = np.sort(np.concatenate([chosen[~left_out], taken]))
    groups = np.repeat(np.arange(len(counts)), counts)
    return groups, chosen - start[groups]


def _group(numbers: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the last group that starts at or before each number; empty groups are passed over."""
    return np.searchsorted(start, numbers, side="right") - 1


def _all_of(start: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return every number of every group, increasing."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(start - before, sizes) + np.arange(sizes.sum())
