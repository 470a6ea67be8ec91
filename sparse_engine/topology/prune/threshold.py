"""Pruning at a threshold that adapts, or that rises along training."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import cast

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn._initial import check_density
from sparse_engine.nn.options import check_number
from sparse_engine.ops import RandomKey
from sparse_engine.topology.prune.magnitude import Prune, Share, ordered
from sparse_engine.topology.rule import State
from sparse_engine.topology.schedule import NarangRamp


@dataclass(eq=False)
class AdaptiveThreshold(Prune):
    """Pruning of the links of ``|w| <= T``, with a T for each weight that adapts along training.

    The wanted number of links to remove is ``fraction * nnz``. If fewer than ``(1 - tolerance)``
    times as many were removed, T doubles for the next rewiring; if more than ``(1 + tolerance)``
    times as many were, T halves. There is no sorting, but the number of removed links is only near
    the wanted one, and may be none or all. With ``fraction`` 0 no link is removed and T stays.

    Attributes:
        start: the first T, finite and above 0; Selfish-RNN (Liu et al. 2021) starts at 0.001.
        tolerance: relative deviation of the number up to which T stays, in [0, 1).
    """

    start: float = 0.001
    _: KW_ONLY
    tolerance: float = 0.02
    _thresholds: dict[int, float] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        _check_threshold(self.start, "start")
        check_number("tolerance in [0, 1)", self.tolerance, lambda share: 0 <= share < 1)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        return self._cut([weight], [fraction], key.stream)[0]

    def _cut(
        self, weights: Sequence[SparseWeight], fractions: Sequence[Share], place: int
    ) -> list[Tensor]:
        """Mark the links up to the threshold kept at ``place``, and adapt the threshold."""
        wanted = sum(f * weight.nnz for f, weight in zip(fractions, weights, strict=True))
        magnitudes = [ordered(weight.values.detach().abs()) for weight in weights]
        if wanted == 0:
            return [torch.zeros_like(magnitude, dtype=torch.bool) for magnitude in magnitudes]
        threshold = self._thresholds.get(place, self.start)
        dropped = [magnitude <= threshold for magnitude in magnitudes]
        removed = sum(int(torch.count_nonzero(gone)) for gone in dropped)
        if removed < (1 - self.tolerance) * wanted:
            threshold *= 2
        elif removed > (1 + self.tolerance) * wanted:
            threshold /= 2
        # With many links of exactly 0, T would halve to 0, which cannot double.
        self._thresholds[place] = min(max(threshold, sys.float_info.min), sys.float_info.max)
        return dropped

    @override
    def state_dict(self) -> State:
        return {f"threshold.{place}": value for place, value in self._thresholds.items()}

    @override
    def load_state_dict(self, state: State) -> None:
        loaded = {}
        for name, value in state.items():
            kind, _, place = name.partition(".")
            if kind != "threshold" or not place.isdecimal():
                raise ValueError(f"expected entries threshold.<weight> for {self}, found {name!r}")
            loaded[int(place)] = _check_threshold(value, name)
        self._thresholds = loaded


@dataclass(eq=False)
class GlobalThreshold(AdaptiveThreshold):
    """Pruning of the links of ``|w| <= T``, with one T for all weights that adapts to their total.

    See :class:`AdaptiveThreshold`. With growth in proportion to each weight's number of links this
    is dynamic sparse reparameterization (Mostafa & Wang 2019).
    """

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        return self.drop_all([weight], [fraction], [key])[0]

    @override
    def drop_all(
        self,
        weights: Sequence[SparseWeight],
        fractions: Sequence[Share],
        keys: Sequence[RandomKey],
    ) -> list[Tensor]:
        return self._cut(weights, fractions, 0)


def _check_threshold(value: object, name: str) -> float:
    check_number(f"a finite {name} > 0", value, lambda threshold: 0 < threshold < math.inf)
    return float(cast(float, value))


@dataclass(frozen=True)
class NarangThreshold(Prune):
    """Pruning of the links of ``|w| <= q * ramp.at(step)``; of none where the threshold is 0.

    q is the magnitude that would leave the wanted density now. It is taken over all n positions of
    the dense matrix, those without a link counting as 0::

        sorted(|W|)[floor((1 - density) * n)]

    Narang et al. 2017 give q once, before training; here it follows the weights. The last threshold
    is near q, not at q, so that the density comes near the wanted one. The fraction that a rewiring
    asks for does not matter. Give :class:`Rewiring` ``density=ConstantSchedule(0.0)``:
    nothing grows back.

    Attributes:
        ramp: the rise of the threshold.
        density: density of each weight where the ramp meets q, in (0, 1].
    """

    ramp: NarangRamp
    density: float

    def __post_init__(self) -> None:
        check_density(self.density)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        magnitude = ordered(weight.values.detach().abs())
        share = self.ramp.at(key.step)
        threshold = share and share * self._q(magnitude, weight.shape)
        if threshold == 0:
            return torch.zeros_like(magnitude, dtype=torch.bool)
        if threshold == math.inf:
            raise ValueError(f"expected finite values, found an infinite one in {weight}")
        return magnitude <= threshold

    def _q(self, magnitude: Tensor, shape: tuple[int, int]) -> float:
        positions = shape[0] * shape[1]
        # In the order of all positions, those without a link come first.
        rank = min(math.floor((1 - self.density) * positions), positions - 1)
        rank -= positions - magnitude.numel()
        return float(magnitude.kthvalue(rank + 1).values) if rank >= 0 else 0.0
