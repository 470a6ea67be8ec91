"""Pruning of links by their sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, Use
from sparse_engine.topology.links import are_positions
from sparse_engine.topology.prune.magnitude import Prune, Share, ordered
from sparse_engine.topology.rule import State


@dataclass(eq=False)
class SignChange(Prune):
    """Pruning of links whose sign is no longer the one that the rule saw first.

    A link that changes its sign is removed, so its first sign is also its sign at the last
    rewiring. This is deep rewiring (Bellec et al. 2018) for weights of any signs;
    :class:`AssignedSign` gives every position a sign. The rule sees the links at each rewiring,
    before any is removed; :meth:`remember` shows links to the rule at another time, such as the
    start of training or the moment after a rewiring. A link that is removed is forgotten. A link of
    exactly 0 has no sign: it stays, and the rule remembers the sign that the link had before.

    The fraction that a rewiring asks for does not matter.
    """

    _seen: dict[int, tuple[Tensor, Tensor]] = field(init=False, default_factory=dict, repr=False)

    def remember(self, weight: SparseWeight, stream: int = 0) -> None:
        """Remember the sign of each link that has none yet.

        Args:
            weight: the weight now.
            stream: place of the weight in the model, as in its :class:`RandomKey`.
        """
        positions = weight.pattern.links.positions()
        signs = ordered(weight.values.detach()).sign().to(torch.int8)
        if stream in self._seen and len(self._seen[stream][0]):
            seen, before = (entry.to(positions.device) for entry in self._seen[stream])
            place = torch.searchsorted(seen, positions).clamp_(max=len(seen) - 1)
            known = (seen[place] == positions) & (before[place] != 0)
            signs = torch.where(known, before[place], signs)
        self._seen[stream] = (positions, signs)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        self.remember(weight, key.stream)
        positions, signs = self._seen[key.stream]
        gone = signs * weight.values.detach() < 0
        self._seen[key.stream] = (positions[~gone], signs[~gone])
        return gone

    @override
    def state_dict(self) -> State:
        state: State = {}
        for stream, (positions, signs) in self._seen.items():
            state |= {f"cells.{stream}": positions, f"signs.{stream}": signs}
        return state

    @override
    def load_state_dict(self, state: State) -> None:
        loaded: dict[int, tuple[Tensor, Tensor]] = {}
        for stream in dict.fromkeys(name.partition(".")[2] for name in state):
            positions: Any = state.get(f"cells.{stream}")
            signs: Any = state.get(f"signs.{stream}")
            known = stream.isdecimal() and are_positions(positions) and isinstance(signs, Tensor)
            if not known or signs.dtype != torch.int8 or signs.shape != positions.shape:
                raise ValueError(
                    f"expected cells.{stream} and signs.{stream} of one length for {self}, the "
                    f"cells increasing, found {sorted(state)}"
                )
            loaded[int(stream)] = positions, signs
        if len(state) != 2 * len(loaded):
            raise ValueError(f"expected cells and signs only for {self}, found {sorted(state)}")
        self._seen = loaded


@dataclass(frozen=True)
class AssignedSign(Prune):
    """Pruning of links whose sign is not that of their position, as in deep rewiring.

    Deep rewiring is that of Bellec et al. 2018. Every position, with a link or without, has a fixed
    sign, drawn with equal odds from the seed, the weight's place in the model and the position;
    nothing is stored. Conductances, which have no signs, stay positive. A link of exactly 0 has the
    right sign: a new link that starts at 0 stays until its first steps lead to the wrong side.

    Training must start from values of these signs, or half of the links are removed at once::

        weight.values.copy_(weight.values.abs() * rule.signs(weight, RandomKey(seed, 0, place)))

    with the seed of :class:`Rewiring` and the weight's place in its ``weights``. The fraction that
    a rewiring asks for does not matter.
    """

    def signs(self, weight: SparseWeight, key: RandomKey) -> Tensor:
        """Return the sign of each link's position, int8 ``[nnz]``, 1 or -1, at any step.

        All signs are 1 where the weight is not ``signed``.
        """
        if not weight.signed:
            return torch.ones_like(weight.values, dtype=torch.int8)
        generator = key._replace(step=0).generator(Use.SIGNS_OF_POSITIONS)
        seed = int(generator.integers(-(2**63), 2**63))
        bits = _hash(weight.pattern.links.positions(), seed)
        return (bits >= 0).to(torch.int8).mul_(2).sub_(1)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        return self.signs(weight, key) * ordered(weight.values.detach()) < 0

    @override
    def state_dict(self) -> State:
        return {"signs": "philox"}

    @override
    def load_state_dict(self, state: State) -> None:
        if state != self.state_dict():
            raise ValueError(f"expected signs by philox for {self}, found {state}")


def _hash(counters: Tensor, seed: int) -> Tensor:
    """Return entries of SplitMix64 (Steele et al. 2014) from a seed, one per counter, as bits."""
    bits = (counters + 1).mul_(_signed(0x9E3779B97F4A7C15)).add_(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits.bitwise_xor_(_right(bits, shift)).mul_(_signed(factor))
    return bits.bitwise_xor_(_right(bits, 31))


def _right(bits: Tensor, shift: int) -> Tensor:
    """Shift and fill with zeros, where torch's shift repeats the highest bit."""
    return (bits >> shift).bitwise_and_(2 ** (64 - shift) - 1)


def _signed(bits: int) -> int:
    return bits - 2**64
