"""Operations on patterns: sampling absent cells, rewiring, carrying what belongs to links."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine.ops._native import native
from sparse_engine.ops.pattern import Pattern


class RandomKey(NamedTuple):
    """Names one independent stream of random numbers; equal keys give equal numbers anywhere.

    Attributes:
        seed: of the experiment, in [-2^63, 2^63).
        step: of the training, in [0, 2^32).
        stream: which weight of the model, in [0, 2^32).
    """

    seed: int
    step: int = 0
    stream: int = 0


class Rewired(NamedTuple):
    """The result of :func:`rewire`.

    Attributes:
        pattern: the new pattern.
        slot_map: int32 ``[old nnz]``, new position of each old link, -1 where it was removed.
        born: int32 ``[cells]``, position of each new link.
    """

    pattern: Pattern
    slot_map: Tensor
    born: Tensor


def sample_absent(pattern: Pattern, count: int, key: RandomKey) -> Tensor:
    """``count`` distinct cells drawn uniformly among those that hold no link.

    Returns:
        int64 ``[count]``, ``row * in_features + column``, increasing. A function of the arguments
        alone, whatever the number of threads.

    Raises:
        ValueError: fewer than ``count`` cells are absent.
    """
    return native.sample_absent(pattern.crow, pattern.col, pattern.shape[1], count, *key)


def sample_absent_ref(pattern: Pattern, count: int, key: RandomKey) -> Tensor:
    """A slow sampler of the same distribution (not of the same draws)."""
    out_features, in_features = pattern.shape
    absent = torch.ones(out_features * in_features, dtype=torch.bool)
    absent[pattern.rows() * in_features + pattern.col] = False
    cells = absent.nonzero().squeeze(1)
    generator = torch.Generator().manual_seed(hash(key) % 2**63)
    return cells[torch.randperm(cells.numel(), generator=generator)[:count]].sort().values


def rewire(pattern: Pattern, keep: Tensor, cells: Tensor) -> Rewired:
    """The pattern without the links where ``keep`` is False and with a link at each of ``cells``.

    Args:
        pattern: the links now.
        keep: bool ``[nnz]``.
        cells: int64, ``row * in_features + column``, strictly increasing; absent after removal.

    Raises:
        ValueError: cells out of order, out of range, or already a link.
    """
    in_features = pattern.shape[1]
    crow, col, slot_map, born = native.rewire(pattern.crow, pattern.col, in_features, keep, cells)
    return Rewired(Pattern(crow, col, *native.transpose(crow, col, in_features)), slot_map, born)


def carry(tensor: Tensor, slot_map: Tensor, size: int) -> Tensor:
    """Moves one entry per link to the link's new position; zeros where a link is new.

    Equals ``out = zeros(size); out[slot_map[kept]] = tensor[kept]``, for any dtype.
    """
    return native.carry(tensor, slot_map, size)
