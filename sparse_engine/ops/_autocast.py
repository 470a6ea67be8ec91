"""Mixed precision: activations in bfloat16, values and sums in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_autocast_enabled(device: str) -> bool:
    """Tell whether autocast is on for devices of this type; torch does not say it of meta."""
    return device != "meta" and torch.is_autocast_enabled(device)


def asks_for_bfloat16(device: str) -> bool:
    """Tell whether autocast asks for bfloat16 on devices of this type."""
    return is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16


def as_activation(x: Tensor, values: Tensor) -> Tensor:
    """Return ``x``, in bfloat16 where autocast asks for that and the values are float32."""
    if values.dtype == x.dtype == torch.float32 and asks_for_bfloat16(x.device.type):
        return x.to(torch.bfloat16)
    return x


def activations(
    values: Tensor, *tensors: Tensor | None, devices: tuple[str, ...] = ("cpu",)
) -> tuple[Any, ...]:
    """Return :func:`as_activation` of each tensor that is not None, on these types of devices."""
    if tensors[0] is None or tensors[0].device.type not in devices:
        return tensors
    return tuple([None if each is None else as_activation(each, values) for each in tensors])


def as_sum(c: Tensor, values: Tensor) -> Tensor:
    """Return ``c``, in float32 where it was rounded to bfloat16 and the values are float32."""
    return c.float() if c.dtype == torch.bfloat16 and values.dtype == torch.float32 else c


def unfolded(kept: Tensor) -> Tensor:
    """Return a sigmoid ``y`` that is kept in bfloat16 as ``-(1 - y)`` where it is above 1/2."""
    if kept.dtype != torch.bfloat16:
        return kept
    kept = kept.float()
    return torch.where(kept.signbit(), 1 + kept, kept)


def summed_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums over activations of this dtype."""
    return torch.float32 if dtype == torch.bfloat16 else dtype
