"""Growth by the units between two that are not linked."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_engine.ops import Links, Predicted, RandomKey, ch2_l3n
from sparse_engine.topology.grow.link_prediction import LinkPrediction


@dataclass(frozen=True)
class CH2L3n(LinkPrediction):
    """The node-based Cannistraci-Hebb rule of CHTs (Zhang et al., NeurIPS 2025).

    A cell's score, :func:`sparse_engine.ops.ch2_l3n`, counts the units on paths of three links
    between the cell's own two, each the more the more of its links stay among them. CHTs draws the
    new links in proportion to it: ``SoftPrediction(CH2L3n())``.
    """

    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """See :meth:`LinkPrediction.predict`."""
        return ch2_l3n(links, count, key=key)
