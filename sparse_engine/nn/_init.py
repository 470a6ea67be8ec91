"""Where links and values of a fresh weight come from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_engine.nn._checks import check_number
from sparse_engine.ops import Links, Pattern, RandomKey, rewire, sample_absent


def draw_seed(generator: torch.Generator | None) -> int:
    """A 63-bit seed for counter-based randomness, from a torch generator (or the global one)."""
    return int(torch.randint(2**63 - 1, (), generator=generator))


def check_density(density: float, name: str = "density") -> float:
    """Returns ``density`` if it lies in (0, 1], else raises ValueError."""
    check_number(f"{name} in (0, 1]", density, lambda share: 0 < share <= 1)
    return density


def no_links(out_features: int, in_features: int, device: torch.device | None = None) -> Links:
    """An empty matrix, which samplers and rewirings start from."""
    for name, size in (("out_features", out_features), ("in_features", in_features)):
        if size < 0:
            raise ValueError(f"expected {name} of at least 0, found {size}")
    crow = torch.zeros(out_features + 1, dtype=torch.int64, device=device)
    return Links(crow, torch.empty(0, dtype=torch.int32, device=device), in_features)


def random_links(out_features: int, in_features: int, nnz: int, key: RandomKey) -> Links:
    """Exactly ``nnz`` links at uniformly random cells, in O(nnz) memory."""
    empty = no_links(out_features, in_features)
    cells = sample_absent(empty, nnz, key)
    return rewire(empty, torch.empty(0, dtype=torch.bool), cells).links


def erdos_renyi(out_features: int, in_features: int, nnz: int, seed: int) -> Pattern:
    """:func:`random_links` with their transpose."""
    return Pattern.of(random_links(out_features, in_features, nnz, RandomKey(seed)))


def epsilon_nnz(out_features: int, in_features: int, epsilon: float) -> int:
    """SET's size rule (Mocanu et al. 2018, eq. 3): ``epsilon * (out + in)`` links, at most all."""
    check_number("finite epsilon > 0", epsilon, lambda e: 0 < e < math.inf)
    return min(round(epsilon * (out_features + in_features)), out_features * in_features)


def density_nnz(out_features: int, in_features: int, density: float) -> int:
    """The number of links nearest to a density in (0, 1]."""
    return round(check_density(density) * out_features * in_features)


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
