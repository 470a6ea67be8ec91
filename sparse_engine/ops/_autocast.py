"""Mixed precision: activations in bfloat16, values and sums in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def as_activation(x: Tensor, values: Tensor) -> Tensor:
    """``x`` as it is kept: in bfloat16 where autocast asks for that and the values are float32."""
    device = x.device.type
    if (
        values.dtype == x.dtype == torch.float32
        and torch.is_autocast_enabled(device)
        and torch.get_autocast_dtype(device) == torch.bfloat16
    ):
        return x.to(torch.bfloat16)
    return x


def summed_dtype(dtype: torch.dtype) -> torch.dtype:
    """In which sums over activations of this dtype are taken and returned."""
    return torch.float32 if dtype == torch.bfloat16 else dtype
