"""Links at uniformly random cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparse_engine.nn import _init
from sparse_engine.ops import Links, RandomKey
from sparse_engine.topology.wiring.base import Wiring


@dataclass(frozen=True, kw_only=True)
class ErdosRenyi(Wiring):
    """Every set of that many cells is equally likely (Erdos and Renyi 1959; G(n, M)).

    Give exactly one of the attributes. For random graphs to compare a graph with, see
    :class:`sparse_engine.analysis.ErdosRenyi`.

    Attributes:
        density: share of all cells, in (0, 1]: ``round(density * out * in)`` links.
        epsilon: SET's size (Mocanu et al. 2018): ``round(epsilon * (out + in))`` links, at most
            all cells.
        nnz: the number of links itself, at least 0.

    Raises:
        ValueError: none or several of them, or one out of range.
    """

    density: float | None = None
    epsilon: float | None = None
    nnz: int | None = None

    def __post_init__(self) -> None:
        given = [self.density, self.epsilon, self.nnz]
        if sum(size is not None for size in given) != 1:
            raise ValueError("expected exactly one of density, epsilon and nnz")
        if self.density is not None:
            _init.check_density(self.density)
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(f"expected finite epsilon > 0, found {self.epsilon}")
        if self.nnz is not None and self.nnz < 0:
            raise ValueError(f"expected nnz of at least 0, found {self.nnz}")

    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """See :meth:`Wiring.links`.

        Raises:
            ValueError: nnz is more than all cells.
        """
        nnz = self.nnz
        if self.density is not None:
            nnz = _init.density_nnz(out_features, in_features, self.density)
        elif self.epsilon is not None:
            nnz = _init.epsilon_nnz(out_features, in_features, self.epsilon)
        return _init.random_links(out_features, in_features, nnz, key)
