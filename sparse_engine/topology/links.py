"""Positions of a matrix: links at them, sets of them, and samples of them."""

from __future__ import annotations

import hashlib
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sparse_engine.nn import SparseWeight, _initial
from sparse_engine.ops import Links
from sparse_engine.ops.topology import rewire


def gate_blocks(weight: SparseWeight, links: Links) -> list[Links]:
    """Return the links of each gate separately; in CSR order they are consecutive."""
    edges = links.crow[[*accumulate(weight.blocks, initial=0)]].tolist()
    blocks, first = [], 0
    for rows, (start, end) in zip(weight.blocks, pairwise(edges), strict=True):
        crow = links.crow[first : first + rows + 1] - start
        blocks.append(Links(crow, links.col[start:end], links.in_features))
        first += rows
    return blocks


def topology_hash(weight: SparseWeight | Links) -> str:
    """Return a hash of a weight's links: equal hashes mean equal links, and vice versa.

    The hash is BLAKE2b of 16 bytes over the shape and ``crow_indices`` as little-endian int64, then
    ``col_indices`` as little-endian int32. Values do not enter.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> topology_hash(weight) == topology_hash(copy.deepcopy(weight))
        True
    """
    links = weight.pattern.links if isinstance(weight, SparseWeight) else weight
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.array((links.crow.numel() - 1, links.in_features), "<i8").data)
    digest.update(np.ascontiguousarray(links.crow.cpu().numpy(), "<i8").data)
    digest.update(np.ascontiguousarray(links.col.cpu().numpy(), "<i4").data)
    return digest.hexdigest()


def links_at(positions: Tensor | np.ndarray, out_features: int, in_features: int) -> Links:
    """Return the links at given positions.

    Args:
        positions: int64 tensor or array, ``row * in_features + column``, in any order.
        out_features: rows.
        in_features: columns.

    Raises:
        ValueError: a position outside the matrix, or one that is given twice.

    Example:
        >>> links_at(torch.tensor([0, 3]), 2, 2).col.tolist()
        [0, 1]
    """
    if isinstance(positions, np.ndarray):
        positions = torch.from_numpy(positions)
    empty = _initial.no_links(out_features, in_features, positions.device)
    return rewire(empty, positions.new_empty(0, dtype=torch.bool), positions.sort().values).links


def are_positions(entry: object) -> bool:
    """Whether an entry of a saved state is a vector of increasing positions."""
    return (
        isinstance(entry, Tensor)
        and entry.dtype == torch.int64
        and entry.dim() == 1
        and bool((entry.diff() > 0).all())
    )


def union(known: Tensor, positions: Tensor) -> Tensor:
    """Return all positions of two increasing int64 tensors, increasing and each once.

    Equals ``torch.cat([known, positions]).unique()``, on the CPU and in linear time.
    """
    both = np.concatenate([known, positions])
    # The stable sort merges the two sorted runs in linear time.
    both.sort(kind="stable")
    return torch.from_numpy(both).unique_consecutive()


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
