"""Growth by the paths of three links that are short of a ring."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_engine.ops import Links, Predicted, RandomKey, ch3_l3
from sparse_engine.topology.grow.link_prediction import LinkPrediction


@dataclass(frozen=True)
class CH3L3(LinkPrediction):
    """The Cannistraci-Hebb rule on paths of length 3, as in CHT (Zhang et al., ICLR 2024).

    A cell's score, :func:`sparse_engine.ops.ch3_l3`, counts the paths of three links between its
    units, each the more the fewer links its inner units have to units off such paths. Growth closes
    the local communities that are there; it takes time proportional to ``nnz * fan_in * fan_out``.
    """

    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """See :meth:`LinkPrediction.predict`."""
        return ch3_l3(links, count, key=key)
