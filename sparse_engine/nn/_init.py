"""Where links and values of a fresh weight come from."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from sparse_engine.nn._checks import check_number
from sparse_engine.ops import Links, Pattern, RandomKey, rewire, sample_absent


def draw_seed(generator: torch.Generator | None) -> int:
    """A 63-bit seed for counter-based randomness, from a torch generator (or the global one)."""
    with _disable_current_modes():  # a number that decides on links cannot be a fake one
        return int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))


def blank(
    *shape: int, dtype: torch.dtype | None, device: torch.device | str | None = "cpu"
) -> Tensor:
    """An uninitialised tensor to draw in: on the CPU, or on meta if that is what ``device`` is.

    Random numbers are those of the CPU's generator wherever they go. :func:`moved` brings them
    there.
    """
    return torch.empty(*shape, dtype=dtype, device=_drawing(device))


def moved(drawn: Tensor, device: torch.device | str | None) -> Tensor:
    """What was drawn, on its device; None is torch's default one."""
    return drawn if drawn.is_meta else drawn.to(_resolved(device))


def _resolved(device: torch.device | str | None) -> torch.device:
    return torch.get_default_device() if device is None else torch.device(device)


def _drawing(device: torch.device | str | None) -> torch.device:
    device = _resolved(device)
    return device if device.type == "meta" else torch.device("cpu")


def check_density(density: float, name: str = "density") -> float:
    """Returns ``density`` if it lies in (0, 1], else raises ValueError."""
    check_number(f"{name} in (0, 1]", density, lambda share: 0 < share <= 1)
    return density


def no_links(
    out_features: int, in_features: int, device: torch.device | str | None = "cpu"
) -> Links:
    """An empty matrix, which samplers and rewirings start from."""
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
    """Exactly ``nnz`` links at uniformly random cells, in O(nnz) memory; on a device of ``blank``.

    On the meta device there is no memory, and nothing is drawn.
    """
    empty = no_links(out_features, in_features, _drawing(device))
    cells = sample_absent(empty, nnz, key)
    return rewire(empty, cells.new_empty(0, dtype=torch.bool), cells).links


def epsilon_nnz(out_features: int, in_features: int, epsilon: float) -> int:
    """SET's size rule (Mocanu et al. 2018, eq. 3): ``epsilon * (out + in)`` links, at most all."""
    check_number("finite epsilon > 0", epsilon, lambda e: 0 < e < math.inf)
    nnz = min(round(epsilon * (out_features + in_features)), out_features * in_features)
    return _countable(nnz, out_features, in_features)


def density_nnz(out_features: int, in_features: int, density: float) -> int:
    """The number of links nearest to a density in (0, 1]."""
    nnz = round(check_density(density) * out_features * in_features)
    return _countable(nnz, out_features, in_features)


def _countable(nnz: int, out_features: int, in_features: int) -> int:
    if nnz >= 2**31:
        raise ValueError(
            f"expected fewer than 2^31 links, found {nnz:,} in a weight of {out_features} x "
            f"{in_features}"
        )
    return nnz


def fan_in_uniform_(
    values: Tensor, pattern: Pattern, *, gain: float, generator: torch.Generator | None
) -> Tensor:
    """Fills ``values`` with U(-b, b), ``b = gain / sqrt(fan-in of the link's row)``.

    The rule of torch's dense layers, with the number of links that exist in place of
    in_features: the variance of a unit's input does not fall with density.
    """
    fan_in = pattern.crow.diff().clamp(min=1)
    bound = gain * fan_in.to(torch.float64).rsqrt()
    with torch.no_grad():
        values.uniform_(-1, 1, generator=generator)
        return values.mul_(bound[pattern.rows()].to(values.dtype))


def uniform_(parameter: Tensor, fan_in: int, generator: torch.Generator | None) -> Tensor:
    """Fills a dense parameter with U(-b, b), ``b = 1 / sqrt(fan_in)``, as torch's layers do."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    with torch.no_grad():
        return parameter.uniform_(-bound, bound, generator=generator)
