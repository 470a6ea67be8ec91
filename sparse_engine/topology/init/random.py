"""Random graphs: links at uniformly random positions, of the whole weight or of each row."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from typing_extensions import override

from sparse_engine.nn import _initial_links
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.init._sampling import sample_groups
from sparse_engine.topology.init.base import Wiring
from sparse_engine.topology.links import links_at


@dataclass(frozen=True, kw_only=True)
class ErdosRenyi(Wiring):
    """Uniformly random links (Erdos and Renyi 1959; G(n, M)): all sets are equally likely.

    Give exactly one of the attributes. A null model, which makes random graphs to
    compare a graph with, is :class:`sparse_engine.analysis.ErdosRenyiNull`.

    Attributes:
        density: fraction of all positions, in (0, 1]: ``round(density * out * in)`` links.
        epsilon: SET's size (Mocanu et al. 2018): ``round(epsilon * (out + in))`` links, at most
            all positions.
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
            _initial_links.check_density(self.density)
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(f"expected finite epsilon > 0, found {self.epsilon}")
        if self.nnz is not None and self.nnz < 0:
            raise ValueError(f"expected nnz of at least 0, found {self.nnz}")

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """Lay the links, see :meth:`Wiring.links`.

        Raises:
            ValueError: nnz is more than all positions.
        """
        if self.density is not None:
            nnz = _initial_links.density_nnz(out_features, in_features, self.density)
        elif self.epsilon is not None:
            nnz = _initial_links.epsilon_nnz(out_features, in_features, self.epsilon)
        else:
            nnz = self.nnz or 0
        return _initial_links.random_links(out_features, in_features, nnz, key)


@dataclass(frozen=True)
class ConstantFanIn(Wiring):
    """Random links of equal fan-in: each row has the same number, in uniformly random columns.

    ``out * fan_in`` links. Give exactly one of the attributes.

    Attributes:
        fan_in: links into each row, at least 0.
        density: density in (0, 1], which gives ``fan_in = round(density * in)``.

    Raises:
        ValueError: none or both of them, or one out of range.
    """

    fan_in: int | None = None
    _: KW_ONLY
    density: float | None = None

    def __post_init__(self) -> None:
        if (self.fan_in is None) == (self.density is None):
            raise ValueError("expected exactly one of fan_in and density")
        if self.density is not None:
            _initial_links.check_density(self.density)
        elif self.fan_in is not None and self.fan_in < 0:
            raise ValueError(f"expected fan_in of at least 0, found {self.fan_in}")

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """Lay the links, see :meth:`Wiring.links`.

        Raises:
            ValueError: fan_in is more than all columns.
        """
        fan_in = self.fan_in or 0 if self.density is None else round(self.density * in_features)
        if fan_in > in_features:
            raise ValueError(f"expected fan_in of at most {in_features}, found {fan_in}")
        counts, sizes = np.full(out_features, fan_in), np.full(out_features, in_features)
        rows, columns = sample_groups(counts, sizes, key.generator(Use.WIRING))
        return links_at(torch.from_numpy(rows * in_features + columns), out_features, in_features)
