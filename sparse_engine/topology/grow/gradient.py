"""Growth at the largest entries of the dense gradient, without the dense gradient in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Pattern, RandomKey, largest, sample_absent, scan_absent, sddmm
from sparse_engine.topology import ranks
from sparse_engine.topology.grow.base import Grow
from sparse_engine.topology.links import links_at

#: The dense gradient is computed in blocks of at most this many entries, or one row.
BLOCK = 1 << 20

#: Factors ``(dy [n, out], x [n, in])`` of a sum of ``scale * dy.T @ x``.
Terms = list[tuple[float, Tensor, Tensor]]


@dataclass(frozen=True)
class GradientGrowth(Grow):
    """Growth of RigL (Evci et al. 2020): the absent positions of largest dense gradient, exactly.

    Equals ``(dy.T @ x).abs()`` at the positions without a surviving link, its ``count`` largest;
    among equals the first. The gradient is that of the last step, summed over all uses of the
    weight and all backward passes in it, and averaged over the ranks that train the model together.
    The product is streamed in blocks of rows, so that memory is proportional to the step's
    activations and the new links.
    """

    window = 1

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose the positions, see :meth:`Grow.grow`.

        Raises:
            ValueError: there was no backward pass, too few positions, or NaN in the gradient.
        """
        return strongest_absent(kept, captured_terms(weight), count)


@dataclass(frozen=True)
class MomentumGrowth(Grow):
    """Growth of sparse momentum (Dettmers and Zettlemoyer 2019): the largest mean gradient.

    This is :class:`GradientGrowth` for the momentum of the last ``window`` steps in place of the
    gradient, ``sum over steps s of beta ** (steps after s) * gradient(s)``. The paper keeps a dense
    momentum since the start of training; gradients of earlier steps would have a weight of
    ``beta ** window`` or less.

    Attributes:
        window: number of steps, at least 1; memory grows with it.
        beta: decay per step, in [0, 1].
    """

    window: int = 10
    beta: float = 0.9

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"expected window of at least 1 step, found {self.window}")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"expected beta in [0, 1], found {self.beta}")

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        return strongest_absent(kept, captured_terms(weight, self.beta), count)


def captured_terms(weight: SparseWeight, beta: float = 1.0) -> Terms:
    """Return the captured factors of the gradient; s steps before the last weigh ``beta ** s``.

    A rank on which the weight was not in use has factors of no rows where another rank has some.

    Raises:
        ValueError: no gradient was captured, on any rank.
    """
    steps = weight.captured or []
    terms = [
        (beta ** (len(steps) - 1 - s), dy, x) for s, pairs in enumerate(steps) for dy, x in pairs
    ]
    if not ranks.mean_(weight.values.new_tensor(float(len(terms)))):
        raise ValueError(
            "expected a backward pass through the weight before it is rewired by its gradient, "
            "found none; call step() after backward(), and rewire() only from step()"
        )
    no_rows = [weight.values.new_empty(0, size) for size in weight.shape]
    return terms or [(1.0, no_rows[0], no_rows[1])]


def strongest_absent(kept: Links, terms: Terms, count: int) -> Tensor:
    """Return the absent positions of largest ``abs(sum scale * dy.T @ x)``, increasing.

    Raises:
        ValueError: fewer than ``count`` positions are absent, or NaN in the product.
    """
    if not 0 <= count <= kept.absent:
        raise ValueError(f"expected to grow between 0 and {kept.absent} links, found {count}")
    best, positions, bound = terms[0][1].new_empty(0), kept.crow.new_empty(0), -1.0
    for first, block in gradient_blocks(terms):
        magnitudes, found = scan_absent(block, kept, first_row=first, above=bound)
        if magnitudes.isnan().any():
            raise ValueError("expected a gradient that can be ordered, found NaN in it")
        best, positions = torch.cat([best, magnitudes]), torch.cat([positions, found])
        if best.numel() > count:
            chosen = largest(best, count)
            best, positions = best[chosen], positions[chosen]
            bound = float(best.min()) if count else torch.inf
    return positions


def gradient_blocks(terms: Terms) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the rows of each block of ``sum scale * dy.T @ x``.

    Each block is averaged over ranks, as DistributedDataParallel averages the gradients of links.
    """
    out_features, in_features = terms[0][1].shape[1], terms[0][2].shape[1]
    height = max(1, BLOCK // max(1, in_features))
    for first in range(0, out_features, height):
        block = terms[0][2].new_zeros(min(height, out_features - first), in_features)
        for scale, dy, x in terms:
            block.addmm_(dy[:, first : first + height].T, x, alpha=scale)
        yield first, ranks.mean_(block)


@dataclass(frozen=True)
class CandidateGradientGrowth(Grow):
    """Guided stochastic exploration (Heddes et al. 2024): gradient growth in linear time.

    Links grow at those of ``ratio * nnz`` uniformly random absent positions that have the largest
    gradient by magnitude; among equals at the first. With as many candidates as there are absent
    positions this is :class:`GradientGrowth`.

    Attributes:
        ratio: candidates per link, at least 0; never fewer than new links.
    """

    ratio: float = 1.0

    window = 1

    def __post_init__(self) -> None:
        if not self.ratio >= 0:
            raise ValueError(f"expected ratio of at least 0, found {self.ratio}")

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose the positions, see :meth:`Grow.grow`.

        Raises:
            ValueError: there was no backward pass, too few positions, or NaN in the gradient.
        """
        terms = captured_terms(weight)
        drawn = min(round(self.ratio * weight.nnz), kept.absent)
        candidates = sample_absent(kept, max(count, drawn), key)
        pattern = Pattern.of(links_at(candidates, *weight.shape))
        gradient = weight.values.new_zeros(candidates.numel())
        for _, dy, x in terms:
            gradient += sddmm(pattern, dy.T, x.T)
        return candidates[largest(ranks.mean_(gradient).abs_(), count)]
