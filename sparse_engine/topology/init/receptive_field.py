"""Links near the diagonal, as if every unit had a receptive field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from typing_extensions import override

from sparse_engine.nn import _initial_links
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.apportion import apportion_logs
from sparse_engine.topology.init._sampling import sample_groups
from sparse_engine.topology.init.base import Wiring
from sparse_engine.topology.links import links_at


@dataclass(frozen=True)
class ReceptiveField(Wiring):
    """Bipartite receptive fields after CHTs (Zhang et al. 2025), in time O(links).

    ``round(density * out * in)`` links. Row i sees column ``floor((i + 1/2) * in / out)`` best;
    d is the distance of another column from the best one, around the ring. The expected density at
    distance d is proportional to ``(1 + d) ** (-(1 - r) / r)`` with r the randomness, but at most
    1: what exceeds it goes to the other distances. Counts at each distance are exact to one link;
    which rows have them is uniformly random. So r = 0 takes the nearest columns only, and r = 1
    all distances alike.

    Attributes:
        density: fraction of all positions, in (0, 1].
        randomness: r, in [0, 1].

    Raises:
        ValueError: one of them out of range.
    """

    density: float
    randomness: float

    def __post_init__(self) -> None:
        _initial_links.check_density(self.density)
        if not 0 <= self.randomness <= 1:
            raise ValueError(f"expected randomness in [0, 1], found {self.randomness}")

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        r = self.randomness
        # So steep that each distance outweighs the next e^64 times: as good as infinity.
        steepest = 64 * in_features
        steepness = min((1 - r) / r, steepest) if r else steepest
        turn = np.arange(in_features)
        offsets = np.where(turn % 2, -(turn + 1) // 2, turn // 2)
        nnz = _initial_links.density_nnz(out_features, in_features, self.density)
        heights = np.full(in_features, out_features)
        counts = apportion_logs(nnz, -steepness * np.log1p(np.abs(offsets)), heights)
        group, rows = sample_groups(counts, heights, key.generator(Use.WIRING))
        best = (2 * rows + 1) * in_features // (2 * out_features)
        positions = rows * in_features + (best + offsets[group]) % in_features
        return links_at(torch.from_numpy(positions), out_features, in_features)
