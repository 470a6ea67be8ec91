"""A sparse weight applied to activations in PyTorch's layout."""

from __future__ import annotations

import math

from torch import Tensor

from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.spmm import spmm


def linear(values: Tensor, pattern: Pattern, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear(x, W, bias)``: ``[..., in]`` to ``[..., out]``.

    Raises:
        ValueError: the last dimension of ``x`` is not in_features, or a dtype does not fit.
    """
    out_features, in_features = pattern.shape
    if x.dim() == 0 or x.shape[-1] != in_features:
        raise ValueError(f"expected input of shape [..., {in_features}], found {[*x.shape]}")
    flat = x.reshape(math.prod(x.shape[:-1]), in_features)
    return spmm(values, pattern, flat.t(), bias).t().reshape(*x.shape[:-1], out_features)
