"""Links whose sign is not the one that their cell has for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, Use
from sparse_engine.topology.prune._checks import ordered
from sparse_engine.topology.prune.base import Prune, Share
from sparse_engine.topology.rule import State


@dataclass(eq=False)
class FixedSign(Prune):
    """The links whose sign is the opposite of their cell's: deep rewiring (Bellec et al. 2018).

    Every cell, with a link or without, has a sign of its own for ever, drawn with equal odds from
    the seed, the weight's place in the model and the cell; nothing is stored. A link of exactly 0
    has the right sign: one that is born at 0 stays until its first steps go the wrong way.

    Training must start from values of these signs, or half of the links go at once::

        weight.values.copy_(weight.values.abs() * rule.signs(weight, RandomKey(seed, 0, place)))

    with the seed of :class:`Dynamic` and the weight's place in its ``weights``. The share that a
    rewiring asks for does not matter.
    """

    _by_philox: bool = field(init=False, default=True, repr=False)

    def signs(self, weight: SparseWeight, key: RandomKey) -> Tensor:
        """The sign of each link's cell, int8 ``[nnz]``, 1 or -1; the same at every step."""
        bits = _hash(weight.pattern.links.cells(), self._seed(key))
        return (bits >= 0).to(torch.int8).mul_(2).sub_(1)

    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        """See :meth:`Prune.drop`."""
        return self.signs(weight, key) * ordered(weight.values.detach()) < 0

    def state_dict(self) -> State:
        """What the signs are drawn by."""
        return {"signs": "philox"} if self._by_philox else {}

    def load_state_dict(self, state: State) -> None:
        """See :meth:`Rule.load_state_dict`; nothing means the signs of releases before Philox."""
        if state not in ({}, {"signs": "philox"}):
            raise ValueError(f"expected signs by philox for {self}, found {state}")
        self._by_philox = bool(state)

    def _seed(self, key: RandomKey) -> int:
        if not self._by_philox:
            return hash((key.seed, key.stream))
        generator = key._replace(step=0).generator(Use.SIGNS_OF_CELLS)
        return int(generator.integers(-(2**63), 2**63))


def _hash(counters: Tensor, seed: int) -> Tensor:
    """Entry ``i`` of SplitMix64 (Steele et al. 2014) from a seed, for each ``i``, as int64 bits."""
    bits = (counters + 1).mul_(_signed(0x9E3779B97F4A7C15)).add_(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits.bitwise_xor_(_right(bits, shift)).mul_(_signed(factor))
    return bits.bitwise_xor_(_right(bits, 31))


def _right(bits: Tensor, shift: int) -> Tensor:
    """A shift that fills with zeros; torch's repeats the highest bit."""
    return (bits >> shift).bitwise_and_(2 ** (64 - shift) - 1)


def _signed(bits: int) -> int:
    return bits - 2**64
