"""Networks in files of FANMOD: ``source<TAB>target<TAB>colour``, colour 1 for +, 2 for -.

The published networks of Zhang et al. (2023) are such files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from sparse_engine import convert
from sparse_engine.analysis.graph import GraphLike, as_csr, read_graph
from sparse_engine.files import write_atomically


def read_fanmod(path: str | Path, *, nodes: int | None = None) -> csr_array:
    """Read a signed network.

    Args:
        path: path of the file.
        nodes: number of nodes; by default one more than the largest number in the file.

    Returns:
        The values +1 and -1, float64 ``[nodes, nodes]``; rows are targets.

    Raises:
        ValueError: a colour other than 1 and 2, or whatever
            :func:`sparse_engine.convert.read_edge_list` refuses.
        OSError: the file cannot be read.
    """
    return convert.to_scipy(read_graph(path, format="fanmod", nodes=nodes))


def write_fanmod(w: GraphLike, path: str | Path) -> None:
    """Write the signs of a graph's links atomically, in the order of sources and targets.

    Raises:
        ValueError: a link of value 0, for which there is no colour.
    """
    links = as_csr(w).tocsc().tocoo()
    if not links.data.all():
        at = int((links.data == 0).argmax())
        raise ValueError(
            f"expected links that are positive or negative, found 0 from {links.col[at]} to "
            f"{links.row[at]}"
        )
    columns = links.col, links.row, np.where(links.data > 0, 1, 2)
    lines = "".join(f"{s}\t{t}\t{colour}\n" for s, t, colour in zip(*columns, strict=True))
    write_atomically(Path(path), lines.encode())
