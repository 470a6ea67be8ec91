"""Base class of prune rules: which links a rewiring removes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.ops.topology import smallest
from sparse_engine.topology.rule import Rule

#: A fraction in [0, 1]; a Fraction stands for an exact number of links.
Share = float | Fraction


class Prune(Rule):
    """Choice of links to remove. Your own rule is a subclass with one method, ``score``.

    A rule that does not remove the links of least score overrides :meth:`drop`; one that compares
    the links of several weights overrides :meth:`drop_all`. Weights must not be changed.
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
    """Return the entries unchanged, or raise ValueError for NaN, which has no order.

    Raises:
        ValueError: an entry is NaN; names its link.
    """
    smallest(entries, 0)
    return entries


def link_gradient(weight: SparseWeight) -> Tensor:
    """Return the gradient at each link, ``[nnz]``, of the last backward pass.

    Raises:
        ValueError: there is none.
    """
    gradient = weight.values.grad
    if gradient is None:
        raise ValueError(
            "expected a gradient in weight.values.grad, found None: rewire after backward() and "
            "before optimizer.zero_grad()"
        )
    return gradient
