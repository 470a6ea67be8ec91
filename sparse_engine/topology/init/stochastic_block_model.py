"""Groups of units with a density for each pair of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from typing_extensions import override

from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.init._sampling import sample_groups
from sparse_engine.topology.init.base import Wiring
from sparse_engine.topology.links import links_at


@dataclass(frozen=True)
class StochasticBlockModel(Wiring):
    """Stochastic block model (Holland et al., Social Networks 1983) with exact counts.

    The block of rows of group a and columns of group b has ``round(densities[a][b] * positions)``
    links at uniformly random positions; the weight has the sum. Groups are runs of consecutive
    units.

    Attributes:
        densities: ``[row groups][column groups]``, each in [0, 1].
        row_sizes: units in each group of rows; as equal as possible by default.
        column_sizes: the same for columns.

    Raises:
        ValueError: not a matrix of densities, or not as many sizes as groups.
    """

    densities: Sequence[Sequence[float]]
    _: KW_ONLY
    row_sizes: Sequence[int] | None = None
    column_sizes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.densities)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"expected a matrix of densities, found shape {[*shape]}")
        outside = [d for row in self.densities for d in row if not 0 <= d <= 1]
        if outside:
            raise ValueError(f"expected densities in [0, 1], found {outside[0]}")
        for name, groups in zip(("row_sizes", "column_sizes"), shape, strict=True):
            sizes = getattr(self, name)
            if sizes is not None and (len(sizes) != groups or min(sizes) < 0):
                raise ValueError(f"expected {groups} {name} of at least 0, found {[*sizes]}")

    @classmethod
    def modular(cls, groups: int, *, within: float, between: float) -> StochasticBlockModel:
        """Make as many groups of rows as of columns: one density inside a group, one across.

        Raises:
            ValueError: fewer than one group, or a density outside [0, 1].
        """
        if groups < 1:
            raise ValueError(f"expected groups of at least 1, found {groups}")
        return cls(np.where(np.eye(groups, dtype=bool), within, between).tolist())

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """Lay the links, see :meth:`Wiring.links`.

        Raises:
            ValueError: the groups' sizes do not sum to the units.
        """
        densities = np.asarray(self.densities, np.float64)
        heights = _sizes("row_sizes", self.row_sizes, len(densities), out_features)
        widths = _sizes("column_sizes", self.column_sizes, densities.shape[1], in_features)
        sizes = np.outer(heights, widths)
        counts = np.rint(densities * sizes).astype(np.int64)
        block, place = sample_groups(counts.ravel(), sizes.ravel(), key.generator(Use.WIRING))
        above, left = np.divmod(block, len(widths))
        rows = (np.cumsum(heights) - heights)[above] + place // widths[left]
        columns = (np.cumsum(widths) - widths)[left] + place % widths[left]
        return links_at(torch.from_numpy(rows * in_features + columns), out_features, in_features)


def _sizes(name: str, sizes: Sequence[int] | None, groups: int, units: int) -> np.ndarray:
    if sizes is None:
        return np.diff(np.arange(groups + 1) * units // groups)
    if sum(sizes) != units:
        raise ValueError(f"expected {name} that sum to {units}, found {sum(sizes)}")
    return np.asarray(sizes, np.int64)
