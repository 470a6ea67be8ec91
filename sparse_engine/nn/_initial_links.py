"""Initial links of a weight: how many there are, and at which random positions."""

from __future__ import annotations

import math

import torch

from sparse_engine.nn._checks import check_number
from sparse_engine.nn._initial_values import drawing_device
from sparse_engine.ops import Links, RandomKey, rewire, sample_absent
from sparse_engine.ops._dispatch.private import without_modes


def draw_seed(generator: torch.Generator | None) -> int:
    """Draw a 63-bit seed for counter-based randomness from a torch generator.

    Args:
        generator: a generator on the CPU; None for torch's global one.
    """
    with without_modes():  # a number that decides on links cannot be a fake one
        return int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))


def check_density(density: float, name: str = "density") -> float:
    """Return ``density`` if it lies in (0, 1], else raise ValueError."""
    check_number(f"{name} in (0, 1]", density, lambda share: 0 < share <= 1)
    return density


def no_links(
    out_features: int, in_features: int, device: torch.device | str | None = "cpu"
) -> Links:
    """Return the links of an empty matrix, with which samplers and rewirings start.

    Raises:
        ValueError: a negative size.
    """
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
    """Return exactly ``nnz`` links at uniformly random positions, in O(nnz) memory.

    The links are on the CPU. Where ``device`` is the meta device they are there, and nothing is
    drawn.
    """
    empty = no_links(out_features, in_features, drawing_device(device))
    positions = sample_absent(empty, nnz, key)
    return rewire(empty, positions.new_empty(0, dtype=torch.bool), positions).links


def epsilon_nnz(out_features: int, in_features: int, epsilon: float) -> int:
    """Return SET's number of links, ``epsilon * (out + in)``, at most all positions.

    See Mocanu et al. 2018, equation 3.
    """
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
