"""The gates of a gated cell share one weight; each is a block of its rows."""

from __future__ import annotations

from itertools import accumulate, pairwise

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links


def gate_blocks(weight: SparseWeight, links: Links) -> list[Links]:
    """Return the links of each gate by itself: in CSR order one run after the other.

    Args:
        weight: whose ``blocks`` the gates are.
        links: of a matrix of its shape.
    """
    edges = links.crow[[*accumulate(weight.blocks, initial=0)]].tolist()
    blocks, first = [], 0
    for rows, (start, end) in zip(weight.blocks, pairwise(edges), strict=True):
        crow = links.crow[first : first + rows + 1] - start
        blocks.append(Links(crow, links.col[start:end], links.in_features))
        first += rows
    return blocks
