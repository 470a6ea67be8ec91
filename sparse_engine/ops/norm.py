"""Layer normalisation, as the cells that have it inside their time loop take it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from sparse_engine.ops.sums import affine


class Norm(NamedTuple):
    """``gain * (u - mean(u)) / sqrt(var(u) + eps) + bias``, as :class:`torch.nn.LayerNorm` has it.

    Mean and variance, the mean squared deviation, are taken over the last dimension (Ba et al.
    2016).

    Attributes:
        gain: ``[features]``, or None for ones.
        bias: ``[features]``, or None for zeros.
        eps: at least 0.
    """

    gain: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 1e-5

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> Norm:
        """Return the normalisation of a module."""
        return cls(norm.weight, norm.bias, norm.eps)

    def plus(self, offset: Tensor) -> Norm:
        """Return the same normalisation with ``offset`` added to its results."""
        return self._replace(bias=offset if self.bias is None else self.bias + offset)

    def __call__(self, u: Tensor) -> Tensor:
        """Return ``u`` normalised; gradients have the same bits for any number of threads."""
        normalised = nn.functional.layer_norm(u, u.shape[-1:], eps=self.eps)
        return affine(normalised, self.gain, self.bias)
