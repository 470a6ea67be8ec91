"""Initial links and values: drawn on the CPU, then moved to their device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_engine.nn.options import check_number
from sparse_engine.ops import Links, Pattern, RandomKey
from sparse_engine.ops._dispatch.private import without_modes
from sparse_engine.ops.topology import rewire, sample_absent


def blank(
    *shape: int, dtype: torch.dtype | None, device: torch.device | str | None = "cpu"
) -> Tensor:
    """Return an uninitialised tensor to draw random numbers into.

    It is on the CPU or on meta, so that the numbers do not depend on the device; :func:`moved`
    brings them there.
    """
    return torch.empty(*shape, dtype=dtype, device=_drawing_device(device))


def moved(drawn: Tensor, device: torch.device | str | None) -> Tensor:
    """Return the drawn numbers on their device; None stands for torch's default device."""
    return drawn if drawn.is_meta else drawn.to(_resolved(device))


def _drawing_device(device: torch.device | str | None) -> torch.device:
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


def uniform(
    *shape: int,
    fan_in: int,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return numbers of U(-b, b), ``b = 1 / sqrt(fan_in)``, as torch's layers draw them."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    entries = blank(*shape, dtype=dtype, device=device)
    return moved(entries.uniform_(-bound, bound, generator=generator), device)


def draw_seed(generator: torch.Generator | None) -> int:
    with without_modes():  # a number that decides on links cannot be a fake one
        return int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))


def check_density(density: float, name: str = "density") -> float:
    """Return ``density`` if it lies in (0, 1], else raise ValueError."""
    check_number(f"{name} in (0, 1]", density, lambda share: 0 < share <= 1)
    return density


def no_links(
    out_features: int, in_features: int, device: torch.device | str | None = "cpu"
) -> Links:
    """Return the links of an empty matrix, or raise ValueError for a negative size."""
    for name, size in (("out_features", out_features), ("in_features", in_features)):
        if size < 0:
            raise ValueError(f"expected {name} of at least 0, found {size}")
    crow = torch.zeros(out_features + 1, dtype=torch.int64, device=device)
    return Links(crow, torch.empty(0, dtype=torch.int32, device=device), in_features)


def random_links(
    out_features: int,
    in_features: int,
    nnz: int,
    key: RandomKey,
    device: torch.device | str | None = "cpu",
) -> Links:
    """Return exactly ``nnz`` links at random positions, on the CPU or on meta, in O(nnz) memory."""
    empty = no_links(out_features, in_features, _drawing_device(device))
    positions = sample_absent(empty, nnz, key)
    return rewire(empty, positions.new_empty(0, dtype=torch.bool), positions).links


def epsilon_nnz(out_features: int, in_features: int, epsilon: float) -> int:
    """Return SET's number of links, ``epsilon * (out + in)``, or all (Mocanu et al. 2018)."""
    check_number("finite epsilon > 0", epsilon, lambda e: 0 < e < math.inf)
    nnz = min(round(epsilon * (out_features + in_features)), out_features * in_features)
    return _countable(nnz, out_features, in_features)


def density_nnz(out_features: int, in_features: int, density: float) -> int:
    """Return the number of links nearest to a density in (0, 1]."""
    nnz = round(check_density(density) * out_features * in_features)
    return _countable(nnz, out_features, in_features)


def _countable(nnz: int, out_features: int, in_features: int) -> int:
    if nnz >= 2**31:
        raise ValueError(
            f"expected fewer than 2^31 links, found {nnz:,} in a weight of {out_features} x "
            f"{in_features}"
        )
    return nnz
