"""As many links into every unit."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch

from sparse_engine.nn import _init
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.wiring._sampling import sample_groups
from sparse_engine.topology.wiring.base import Wiring, links_at


@dataclass(frozen=True)
class ConstantFanIn(Wiring):
    """The same number of links into every row, from uniformly random columns.

    ``out * fan_in`` links. Give exactly one of the attributes.

    Attributes:
        fan_in: links into each row, at least 0.
        density: in (0, 1]; then ``fan_in = round(density * in)``.

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
            _init.check_density(self.density)
        elif self.fan_in < 0:
            raise ValueError(f"expected fan_in of at least 0, found {self.fan_in}")

    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """See :meth:`Wiring.links`.

        Raises:
            ValueError: fan_in is more than all columns.
        """
        fan_in = round(self.density * in_features) if self.fan_in is None else self.fan_in
        if fan_in > in_features:
            raise ValueError(f"expected fan_in of at most {in_features}, found {fan_in}")
        counts, sizes = np.full(out_features, fan_in), np.full(out_features, in_features)
        rows, columns = sample_groups(counts, sizes, key.generator(Use.WIRING))
        return links_at(torch.from_numpy(rows * in_features + columns), out_features, in_features)
