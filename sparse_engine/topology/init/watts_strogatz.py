"""Small worlds: neighbours on a ring, some of them rewired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from typing_extensions import override

from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.init._sampling import sample_groups
from sparse_engine.topology.init.base import Wiring
from sparse_engine.topology.links import links_at


@dataclass(frozen=True)
class WattsStrogatz(Wiring):
    """Small world: links from the nearest columns on a ring, a fraction of which is rewired.

    ``out * neighbours`` links, ``neighbours`` into every row. A square weight is one population:
    a unit is not its own neighbour, and without rewiring and with even ``neighbours`` the links
    are those of ``networkx.watts_strogatz_graph``, both directions of each edge. In any other
    shape row i stands on the ring of columns at ``(i + 1/2) * in / out``.

    Of all links exactly ``round(rewiring * nnz)``, uniformly chosen, move: the row stays, the
    column becomes a uniformly random one that is not a neighbour (nor, in a square weight, the
    unit itself). Each direction moves on its own. After Watts and Strogatz, Nature 1998.

    Attributes:
        neighbours: links into each row, at least 1.
        rewiring: fraction of the links that are rewired, in [0, 1].

    Raises:
        ValueError: one of them out of range.
    """

    neighbours: int
    rewiring: float

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"expected neighbours of at least 1, found {self.neighbours}")
        if not 0 <= self.rewiring <= 1:
            raise ValueError(f"expected rewiring in [0, 1], found {self.rewiring}")

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """Lay the links, see :meth:`Wiring.links`.

        Raises:
            ValueError: more neighbours than columns; or, where links are rewired, than half of
                them, so that a row might find no new column for each.
        """
        near, square = self.neighbours, out_features == in_features
        columns = in_features - square
        most = columns // 2 if self.rewiring else columns
        if near > most:
            raise ValueError(
                f"expected neighbours of at most {most} in a {out_features} x {in_features} weight "
                f"with rewiring {self.rewiring}, found {near}"
            )
        rng = key.generator(Use.WIRING)
        nnz = out_features * near
        moved = sample_groups([round(self.rewiring * nnz)], [nnz], rng)[1]
        stay = np.delete(np.arange(nnz), moved)
        leaving = np.bincount(moved // near, minlength=out_features)
        new_rows, new_places = sample_groups(leaving, np.full(out_features, columns - near), rng)

        # Places count the columns of a row along the ring, its neighbours first.
        rows = np.concatenate([stay // near, new_rows])
        places = np.concatenate([stay % near, new_places + near])
        if square:
            start = rows - near // 2
            places += places >= near // 2
        else:
            start = ((2 * rows + 1) * in_features - (near - 1) * out_features) // (2 * out_features)
        positions = rows * in_features + (start + places) % in_features
        return links_at(torch.from_numpy(positions), out_features, in_features)
