"""What prune rules ask of a weight before they choose."""

from __future__ import annotations

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import smallest


def ordered(entries: Tensor) -> Tensor:
    """The entries as they are, if none is NaN: no comparison says anything about a NaN.

    Raises:
        ValueError: naming a link whose entry is NaN.
    """
    smallest(entries, 0)
    return entries


def link_gradient(weight: SparseWeight) -> Tensor:
    """The gradient at each link, ``[nnz]``, as the last backward pass left it.

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
