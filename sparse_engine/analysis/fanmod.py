"""Signed networks in FANMOD's format: ``source<TAB>target<TAB>colour``, without a header.

Colour 1 is a positive link, 2 a negative one. The published networks of Zhang et al. (2023) are
such files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from sparse_engine import convert
from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.files import write_atomically


def read_fanmod(path: str | Path, *, nodes: int | None = None) -> csr_array:
    """Reads a network of values +1 and -1, float64 ``[nodes, nodes]``, rows are targets.

    Args:
        path: of the file.
        nodes: how many; by default as many as the largest number in the file asks for.

    Raises:
        ValueError: a colour other than 1 and 2, or whatever
            :func:`sparse_engine.convert.read_edge_list` refuses.
        OSError: the file cannot be read.
    """
    shape = None if nodes is None else (nodes, nodes)
    graph = convert.to_scipy(convert.read_edge_list(path, shape=shape, dtype=torch.float64))
    wrong = ~np.isin(graph.data, [1, 2])
    if wrong.any():
        raise ValueError(
            f"expected colours 1 and 2 in {path}, found {graph.data[wrong.argmax()]:g}"
        )
    graph.data = 3 - 2 * graph.data
    return graph


def write_fanmod(w: GraphLike, path: str | Path) -> None:
    """Writes the signs of a graph's links, atomically, in the order of sources and targets.

    Raises:
        TypeError: not a graph.
        ValueError: a link of value 0, which is neither colour; or not a valid graph.
    """
    links = as_csr(w).tocsc().tocoo()
    if not links.data.all():
        at = int((links.data == 0).argmax())
        raise ValueError(
            f"expected links that are positive or negative, found 0 from {links.col[at]} to "
            f"{links.row[at]}"
        )
    colours = np.where(links.data > 0, 1, 2)
    lines = (
        f"{source}\t{target}\t{colour}\n"
        for source, target, colour in zip(links.col, links.row, colours, strict=True)
    )
    write_atomically(Path(path), "".join(lines).encode())
