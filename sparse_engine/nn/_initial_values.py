"""Initial values of parameters: drawn on the CPU, then moved to their device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_engine.ops import Pattern


def blank(
    *shape: int, dtype: torch.dtype | None, device: torch.device | str | None = "cpu"
) -> Tensor:
    """Return an uninitialised tensor to draw random numbers into.

    The tensor is on the CPU, so that random numbers do not depend on the device; :func:`moved`
    brings them there. Where ``device`` is the meta device, the tensor is on it.
    """
    return torch.empty(*shape, dtype=dtype, device=drawing_device(device))


def moved(drawn: Tensor, device: torch.device | str | None) -> Tensor:
    """Return the drawn numbers on their device; None stands for torch's default device."""
    return drawn if drawn.is_meta else drawn.to(_resolved(device))


def drawing_device(device: torch.device | str | None) -> torch.device:
    """Return where random numbers for a device are drawn: the CPU, or meta for meta."""
    device = _resolved(device)
    return device if device.type == "meta" else torch.device("cpu")


def _resolved(device: torch.device | str | None) -> torch.device:
    return torch.get_default_device() if device is None else torch.device(device)


def fan_in_uniform_(
    values: Tensor, pattern: Pattern, *, gain: float, generator: torch.Generator | None
) -> Tensor:
    """Fill ``values`` with U(-b, b), ``b = gain / sqrt(fan_in)`` of each link's row.

    This is the rule of torch's dense layers with the links of a row in place of in_features, so
    that the variance of a unit's input does not fall with the density.
    """
    fan_in = pattern.crow.diff().clamp(min=1)
    bound = gain * fan_in.to(torch.float64).rsqrt()
    with torch.no_grad():
        values.uniform_(-1, 1, generator=generator)
        return values.mul_(bound[pattern.rows()].to(values.dtype))


def uniform_(parameter: Tensor, fan_in: int, generator: torch.Generator | None) -> Tensor:
    """Fill a dense parameter with U(-b, b), ``b = 1 / sqrt(fan_in)``, as torch's layers do."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    with torch.no_grad():
        return parameter.uniform_(-bound, bound, generator=generator)
