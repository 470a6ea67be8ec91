"""Functions of torch whose results do not depend on where in a tensor a number is.

torch computes sigmoid and softplus of most entries in vectors, and of the last ones singly, with
other roundings. Its tanh, exp and log1p, sums and products are the same everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def sigmoid(x: Tensor) -> Tensor:
    """Return ``torch.sigmoid(x)``, to within rounding."""
    return torch.tanh(x * 0.5) * 0.5 + 0.5


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return dy * sigmoid(x)


class SameBits(TorchFunctionMode):
    """Within it, the equations of a cell have the same bits for any number of ranks."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Replace a function of torch by one of this module."""
        if function is torch.sigmoid:
            return sigmoid(*args)
        if function is torch.nn.functional.softplus:
            return _Softplus.apply(args[0])
        return function(*args, **(kwargs or {}))
