"""Prune rules, which links a rewiring removes: their base class, and those by magnitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.ops import RandomKey, Use
from sparse_engine.ops.topology import nearest_zero, smallest
from sparse_engine.topology.rule import Rule
from sparse_engine.topology.schedule import Schedule, as_schedule

#: A fraction in [0, 1]; a Fraction stands for an exact number of links.
Share = float | Fraction


class Prune(Rule):
    """Choice of links to remove. Your own rule is a subclass with one method, ``score``.

    A rule that does not remove the links of least score overrides :meth:`drop`; one that compares
    the links of several weights overrides :meth:`drop_all`. Weights must not be changed.

    Example:
        >>> class LargestFanOut(Prune):
        ...     def score(self, weight):
        ...         return -weight.fan_out()[weight.col_indices]
    """

    def score(self, weight: SparseWeight) -> Tensor:
        """Return the score of each link, ``[nnz]``; the links of least score are removed."""
        raise NotImplementedError(f"expected {type(self).__name__} to define score or drop")

    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        """Mark the links of one weight to remove.

        By default these are the ``floor(fraction * nnz)`` links of least score, among equals those
        that come first.

        Args:
            weight: the weight now.
            fraction: fraction of the links that the rewiring asks for.
            key: this rewiring's own stream of random numbers.

        Returns:
            bool ``[nnz]``, true for links to remove.
        """
        return smallest(self.score(weight), int(fraction * weight.nnz))

    def drop_all(
        self,
        weights: Sequence[SparseWeight],
        fractions: Sequence[Share],
        keys: Sequence[RandomKey],
    ) -> list[Tensor]:
        """Mark the links of all weights of a model to remove; by default each by itself."""
        return [self.drop(*each) for each in zip(weights, fractions, keys, strict=True)]


def ordered(entries: Tensor) -> Tensor:
    """Return the entries unchanged, or raise ValueError for NaN, which has no order."""
    smallest(entries, 0)
    return entries


def link_gradient(weight: SparseWeight) -> Tensor:
    """Return the gradient at each link, ``[nnz]``, of the last backward pass."""
    gradient = weight.values.grad
    if gradient is None:
        raise ValueError(
            "expected a gradient in weight.values.grad, found None: rewire after backward() and "
            "before optimizer.zero_grad()"
        )
    return gradient


@dataclass(frozen=True)
class Magnitude(Prune):
    """Pruning of the ``floor(fraction * nnz)`` links of least magnitude, among equals the first.

    Example:
        >>> rewiring = Rewiring(model, optimizer, prune=Magnitude(), grow=RandomGrowth())
    """

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        return weight.values.detach().abs()


class GlobalMagnitude(Magnitude):
    """Pruning of the links of least magnitude of all weights together, as one vector.

    The number of removed links is the sum of ``floor(fraction * nnz)`` over the weights, as for
    :class:`Magnitude`. They are those below one threshold for the whole model; among equals the
    first links of the first weight. A weight may lose all its links.
    """

    @override
    def drop_all(
        self,
        weights: Sequence[SparseWeight],
        fractions: Sequence[Share],
        keys: Sequence[RandomKey],
    ) -> list[Tensor]:
        if not weights:
            return []
        sizes = [weight.nnz for weight in weights]
        count = sum(int(fraction * size) for fraction, size in zip(fractions, sizes, strict=True))
        scores = torch.cat([ordered(self.score(weight)) for weight in weights])
        return list(smallest(scores, count).split(sizes))


@dataclass(frozen=True)
class SignedMagnitude(Prune):
    """Pruning of SET: of the links of each sign, the fraction ``fraction`` nearest to zero.

    Exactly ``floor(fraction * n)`` of the n positive links are removed, among equals the first, and
    the same of the negative links. Links of exactly zero are always removed, as in Mocanu et al.
    2018.

    Example:
        >>> rewiring = Rewiring(model, optimizer, prune=SignedMagnitude(), grow=RandomGrowth())
    """

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        return nearest_zero(weight.values.detach(), float(fraction))


@dataclass(frozen=True)
class SoftMagnitude(Prune):
    """Random pruning: links stay with probabilities proportional to ``score^(delta/(1 - delta))``.

    This is the soft rule of CHTs (Zhang et al. 2025). Surviving links are drawn one after the other
    without replacement; the ``floor(fraction * nnz)`` links that are left are removed. With the
    sums of ``|W|`` over the link's row and over its column, the score is::

        |w| / 2 / (alpha + (1 - alpha) * row) + |w| / 2 / (alpha + (1 - alpha) * column)

    Links of score 0 are drawn last; among them, the first are removed.

    Attributes:
        delta: strictness in [0, 1), or its schedule: 0 draws uniformly, 0.5 in proportion to the
            score, and near 1 the rule cuts as :class:`Magnitude` does. The paper: linear from 0.5
            to 0.75.
        alpha: weight of the magnitude, in [0, 1], against the link's share in its neurons.
    """

    delta: Schedule | float = 0.5
    _: KW_ONLY
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.delta, Schedule):
            _check_delta(as_schedule(self.delta).at(0))
        check_fraction("alpha", self.alpha)

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        magnitude = weight.values.detach().abs().double()
        if self.alpha == 1:
            return magnitude
        pattern = weight.pattern
        rows = torch.segment_reduce(magnitude, "sum", offsets=pattern.crow)
        by_column = magnitude[pattern.permutation]
        columns = torch.segment_reduce(by_column, "sum", offsets=pattern.t_crow)
        half = magnitude / 2
        by_row = half / self._scale(rows)[pattern.rows()]
        return by_row + half / self._scale(columns)[pattern.col]

    def _scale(self, sums: Tensor) -> Tensor:
        scale = self.alpha + (1 - self.alpha) * sums
        return scale.clamp(min=torch.finfo(scale.dtype).tiny)

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        delta = _check_delta(as_schedule(self.delta).at(key.step))
        waits = torch.from_numpy(key.generator(Use.PRUNE).standard_exponential(weight.nnz))
        # Exponential waits at rate s end in the order of draws in proportion to s; logarithms,
        # because a high power of a score overflows.
        log_rate = torch.xlogy(delta / (1 - delta), self.score(weight))
        return smallest(log_rate - waits.to(log_rate.device).log(), int(fraction * weight.nnz))


def _check_delta(delta: float) -> float:
    check_number("delta in [0, 1)", delta, lambda each: 0 <= each < 1)
    return delta


@dataclass(frozen=True)
class GradientMagnitude(Prune):
    """Pruning of the ``floor(fraction * nnz)`` links of least ``|w| + scale * |gradient|``.

    MEST (Yuan et al. 2021) so keeps a small link whose gradient is large. The gradient is the one
    in ``weight.values.grad``, of the existing links only; without one, :meth:`drop` raises
    ValueError.

    Attributes:
        scale: what a gradient counts beside a value, finite and at least 0.
    """

    scale: float

    def __post_init__(self) -> None:
        check_number("a finite scale of at least 0", self.scale, lambda x: 0 <= x < math.inf)

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        return weight.values.detach().abs() + self.scale * link_gradient(weight).abs()


@dataclass(frozen=True)
class Taylor(Prune):
    """Pruning of the ``floor(fraction * nnz)`` links of least ``(w * gradient)^2``.

    To first order this is what the loss would change without a link (Molchanov et al. 2019). The
    score is the root, ``|w * gradient|``, which has the same order and does not underflow. The
    gradient is the one in ``weight.values.grad``; without one, :meth:`drop` raises ValueError.
    """

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        return (weight.values.detach() * link_gradient(weight)).abs()
