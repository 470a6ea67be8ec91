"""The cuts of long rows into pieces, which the warps of a GPU have as their share."""

from __future__ import annotations

import torch
from torch import Tensor

#: The fewest links of a piece, and the warps that share the links, as ``plan.h`` has them.
FEWEST_LINKS, WARPS = 256, 8192


def plan_of(crow: Tensor, t_crow: Tensor, nnz: int) -> Tensor:
    """Return the pieces of the long rows of a matrix and of its transpose.

    A row of more than ``most = max(256, nnz // 8192)`` links is cut into pieces of ``most`` links,
    the last of which may have fewer.

    Args:
        crow: int64 ``[rows + 1]``, where each row's links begin.
        t_crow: int64 ``[columns + 1]``, the same for the transposed matrix.
        nnz: the number of links.

    Returns:
        int32 ``[2, 1 + 2 * places]`` with ``places = 2 * (nnz // most)``: for each of both matrices
        the number of pieces, the row of each, and the first link of each; zeros in places that no
        piece takes. The shape follows from the number of links alone, so that a rewiring can write
        a new plan in place of the old one.
    """
    most = max(FEWEST_LINKS, nnz // WARPS)
    places = 2 * (nnz // most)
    if places == 0:
        return crow.new_zeros(2, 1, dtype=torch.int32)
    return torch.stack([_pieces(pointers, most, places) for pointers in (crow, t_crow)])


def _pieces(crow: Tensor, most: int, places: int) -> Tensor:
    lengths = crow.diff()
    of_row = torch.where(lengths > most, (lengths + most - 1) // most, 0)
    ends = of_row.cumsum(0)
    place = torch.arange(places, device=crow.device)
    taken = place < ends[-1]
    row = torch.searchsorted(ends, place, right=True) * taken
    first_link = (crow[row] + (place - ends[row] + of_row[row]) * most) * taken
    return torch.cat([ends[-1:], row, first_link]).int()
