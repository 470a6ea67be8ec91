"""Growth by gradient among random candidates."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Pattern, RandomKey, largest, sample_absent, sddmm
from sparse_engine.topology.grow.base import Grow
from sparse_engine.topology.grow.gradient import noted
from sparse_engine.topology.wiring.base import links_at


@dataclass(frozen=True)
class CandidateGradient(Grow):
    """Guided stochastic exploration (Heddes et al. 2024): gradient growth in linear time.

    Of ``ratio * nnz`` uniformly random absent cells, those of largest gradient by magnitude; among
    equals the first. With as many candidates as there are absent cells this is :class:`Gradient`.

    Attributes:
        ratio: candidates per link, at least 0; never fewer than new links.
    """

    ratio: float = 1.0

    window = 1

    def __post_init__(self) -> None:
        if not self.ratio >= 0:
            raise ValueError(f"expected ratio of at least 0, found {self.ratio}")

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`.

        Raises:
            ValueError: there was no backward pass, too few cells, or NaN in the gradient.
        """
        terms = noted(weight)
        drawn = min(round(self.ratio * weight.nnz), kept.absent)
        candidates = sample_absent(kept, max(count, drawn), key)
        pattern = Pattern.of(links_at(candidates, *weight.shape))
        gradient = weight.values.new_zeros(candidates.numel())
        for _, dy, x in terms:
            gradient += sddmm(pattern, dy.T, x.T)
        return candidates[largest(gradient.abs_(), count)]
