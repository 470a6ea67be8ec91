"""Signed graphs in text files: edge lists with weights or with FANMOD's colours."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from sparse_engine.convert.edge_list import EdgeTable, read_edge_table
from sparse_engine.nn import SparseWeight

#: Meaning of the third column: a weight, or FANMOD's colour, 1 for + and 2 for -.
GraphFormat = Literal["edges", "fanmod"]


def read_graph(
    path: str | Path, *, format: GraphFormat | None = None, nodes: int | None = None
) -> SparseWeight:
    """Read a square weight of float64 from a text file.

    Args:
        path: path of an edge list, see :func:`sparse_engine.convert.read_edge_list`.
        format: meaning of the third column. By default the column holds weights, and is refused
            where it may hold colours: in a file without a header, where it has only 1 and 2.
        nodes: number of nodes; by default one more than the largest number in the file.

    Raises:
        ValueError: a colour other than 1 and 2, a column that may hold colours, a number of nodes
            below 0, or a file that :func:`sparse_engine.convert.read_edge_list` refuses.
        MemoryError: there is no memory for so many nodes.
        OSError: the file cannot be read.
    """
    if nodes is not None and not 0 <= nodes < 2**31:
        raise ValueError(f"expected nodes in [0, 2^31), found {nodes}")
    table = read_edge_table(path)
    if format == "fanmod":
        table = table._replace(values=_signs(table))
    elif format is None and _may_be_colours(table):
        raise ValueError(
            f"expected weights in the third column of {path}, found nothing but 1 and 2, which are "
            "colours in files of FANMOD: say which they are (read_fanmod or read_edge_list, on the "
            "command line --format fanmod or edges)"
        )
    shape = None if nodes is None else (nodes, nodes)
    return table.weight(shape=shape, dtype=torch.float64)


def _signs(table: EdgeTable) -> np.ndarray:
    """Return +1 for colour 1 and -1 for colour 2."""
    wrong = ~np.isin(table.values, [1, 2])
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"expected colours 1 and 2 in {table.path}, found {table.values[at]:g} in line "
            f"{at + table.lines_before + 1}"
        )
    return 3 - 2 * table.values


def _may_be_colours(table: EdgeTable) -> bool:
    """Whether the third column may hold weights or colours; 1 alone is positive as either."""
    named = table.lines_before > 0
    return not named and 2 in table.values and bool(np.isin(table.values, [1, 2]).all())
