"""Mixed precision: activations in bfloat16, values and sums in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def is_autocast_enabled(device: str) -> bool:
    """Whether autocast is on, on devices of this type; torch refuses to say so of meta."""
    return device != "meta" and torch.is_autocast_enabled(device)


def asks_for_bfloat16(device: str) -> bool:
    """Whether autocast asks for bfloat16, on devices of this type."""
    return is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16


def as_activation(x: Tensor, values: Tensor) -> Tensor:
    """``x`` as it is kept: in bfloat16 where autocast asks for that and the values are float32."""
    if values.dtype == x.dtype == torch.float32 and asks_for_bfloat16(x.device.type):
        return x.to(torch.bfloat16)
    return x


def as_sum(c: Tensor, values: Tensor) -> Tensor:
    """A ``c`` that was rounded to bfloat16 as what is summed up from it: float32, as the values."""
    return c.float() if c.dtype == torch.bfloat16 and values.dtype == torch.float32 else c


def unfolded(kept: Tensor) -> Tensor:
    """A sigmoid ``y`` from what is kept of it: in bfloat16, ``-(1 - y)`` where it is above 1/2."""
    if kept.dtype != torch.bfloat16:
        return kept
    kept = kept.float()
    return torch.where(kept.signbit(), 1 + kept, kept)


def summed_dtype(dtype: torch.dtype) -> torch.dtype:
    """In which sums over activations of this dtype are taken and returned."""
    return torch.float32 if dtype == torch.bfloat16 else dtype
