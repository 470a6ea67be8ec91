"""Files of FANMOD: signed networks ``source<TAB>target<TAB>colour``, and counts of motifs.

Colour 1 is a positive link, colour 2 a negative one. The published networks of Zhang et al. (2023)
are such files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from sparse_engine import convert
from sparse_engine.analysis.fanmod_motifs import FanmodMotifs, is_fanmod_motifs, read_fanmod_motifs
from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.analysis.graph_file import read_graph
from sparse_engine.files import write_atomically


def read_fanmod(path: str | Path, *, nodes: int | None = None) -> csr_array | FanmodMotifs:
    """Read a file of FANMOD: a signed network, or the motifs that FANMOD counted.

    Args:
        path: path of the file; its first line tells which of the two it is.
        nodes: number of nodes of a network; by default one more than its largest number.

    Returns:
        For a network, the values +1 and -1, float64 ``[nodes, nodes]``; rows are targets. For a
        file of motifs (CSV), :class:`FanmodMotifs`.

    Raises:
        ValueError: a colour other than 1 and 2; whatever
            :func:`sparse_engine.convert.read_edge_list` refuses; or a damaged motif file, or one
            of motifs that do not have three nodes.
        OSError: the file cannot be read.
    """
    if is_fanmod_motifs(path):
        return read_fanmod_motifs(path)
    return convert.to_scipy(read_graph(path, format="fanmod", nodes=nodes))


def write_fanmod(w: GraphLike, path: str | Path) -> None:
    """Write the signs of a graph's links atomically, in the order of sources and targets.

    Raises:
        TypeError: not a graph.
        ValueError: a link of value 0, for which there is no colour; or not a valid graph.
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
