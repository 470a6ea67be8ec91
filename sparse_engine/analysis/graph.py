"""Signed directed graphs in all forms that analyses accept, and the files of FANMOD.

Lines of FANMOD are ``source<TAB>target<TAB>colour``, colour 1 for +, 2 for -. The networks of
Zhang et al. (2023) are such files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import networkx as nx
import numpy as np
import scipy.sparse
import torch

from sparse_engine import convert
from sparse_engine.analysis._triads import Graph
from sparse_engine.convert.edge_list import EdgeTable, read_edge_table
from sparse_engine.convert.scipy import as_canonical, view_as_scipy
from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseWeight
from sparse_engine.ops._dispatch import native as _native

#: A square weight whose entry ``W[i, j]`` is the link from node j to node i; or a file of edges.
GraphLike: TypeAlias = (
    SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor | nx.DiGraph
    | str | Path
)  # fmt: skip

#: A weight whose entry ``W[i, j]`` is the link from input j to unit i; a stored zero is a link.
WeightLike: TypeAlias = SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor
#: Meaning of an edge list's third column: a weight, or FANMOD's colour, 1 for + and 2 for -.
GraphFormat = Literal["edges", "fanmod"]
#: Description of a weight in errors.
MATRIX = "a SparseWeight, a SciPy or torch sparse matrix"

#: The states of a link in native code; 0 is no link.
POSITIVE, NEGATIVE, ZERO = 1, 2, 3


def as_csr(w: GraphLike) -> scipy.sparse.csr_array:
    """Return the links of a graph as a valid CSR array, stored zeros included.

    Args:
        w: a :class:`SparseWeight`, a SciPy sparse array or matrix, a ``torch.sparse_csr`` or
            ``torch.sparse_coo`` tensor, a networkx DiGraph, or the path of an edge list.

    Raises:
        TypeError: anything else.
        ValueError: not square, a value that is not a number, a matrix that
            :mod:`sparse_engine.convert` refuses, such as one with a link given twice, or an edge
            list whose third column may hold FANMOD's colours, which
            :func:`~sparse_engine.analysis.read_fanmod` reads.
    """
    if isinstance(w, str | Path):
        w = read_graph(w)
    elif isinstance(w, nx.Graph):
        w = convert.from_networkx(w, dtype=torch.float64)
    csr = as_matrix(
        w,
        "a SparseWeight, a SciPy or torch sparse matrix, a networkx.DiGraph or the path of an edge "
        "list",
    )
    out_features, in_features = csr.shape
    if out_features != in_features:
        raise ValueError(
            f"expected a square weight, found {out_features} x {in_features}: a graph has one set "
            "of nodes"
        )
    return csr


def as_matrix(w: WeightLike, expected: str = MATRIX) -> scipy.sparse.csr_array:
    """Return the links of a weight of any shape as :func:`as_csr` does those of a graph.

    The array is a view where no copy is needed, as analyses only read.
    """
    if isinstance(w, torch.Tensor):
        w = convert.from_torch(w)
    if isinstance(w, SparseWeight):
        csr = view_as_scipy(w)
    elif scipy.sparse.issparse(w):
        csr = as_canonical(w)
    else:
        raise TypeError(f"expected {expected}, found {type(w).__name__}")
    if csr.dtype not in (np.float32, np.float64):
        csr = csr.astype(np.float64)
    wrong = np.isnan(csr.data)
    if wrong.any():
        raise ValueError(f"expected values that are numbers, found nan at link {wrong.argmax()}")
    return csr


def link_states(csr: scipy.sparse.csr_array) -> np.ndarray:
    """Return the state of each link, uint8 ``[nnz]``: positive, negative or zero."""
    states = np.full(csr.nnz, ZERO, np.uint8)
    states[csr.data > 0] = POSITIVE
    states[csr.data < 0] = NEGATIVE
    return states


def native(csr: scipy.sparse.csr_array) -> Graph:
    """Return the graph in the form that native code takes."""
    ptr, idx = csr.indptr.astype(np.int64), csr.indices.astype(np.int32, copy=False)
    return Graph(ptr, idx, link_states(csr))


def threads() -> int:
    """Return the number of threads to use, that of operations; no result depends on it."""
    return _native.threads()


def read_graph(
    path: str | Path, *, format: GraphFormat | None = None, nodes: int | None = None
) -> SparseWeight:
    """Read a square weight of float64 from an edge list.

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
    colours = np.isin(table.values, [1, 2])
    if format == "fanmod":
        table = table._replace(values=_signs(table, colours))
    # A header names the column; 1 alone is positive as a weight and as a colour.
    elif format is None and not table.lines_before and 2 in table.values and colours.all():
        raise ValueError(
            f"expected weights in the third column of {path}, found nothing but 1 and 2, which are "
            "colours in files of FANMOD: say which they are (read_fanmod or read_edge_list, on the "
            "command line --format fanmod or edges)"
        )
    shape = None if nodes is None else (nodes, nodes)
    return table.weight(shape=shape, dtype=torch.float64)


def _signs(table: EdgeTable, colours: np.ndarray) -> np.ndarray:
    if not colours.all():
        at = int(colours.argmin())
        raise ValueError(
            f"expected colours 1 and 2 in {table.path}, found {table.values[at]:g} in line "
            f"{at + table.lines_before + 1}"
        )
    return 3 - 2 * table.values


def read_fanmod(path: str | Path, *, nodes: int | None = None) -> scipy.sparse.csr_array:
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

    Example:
        >>> w = signed_network(40, 0.1)
        >>> write_fanmod(w, "graph.txt"); (read_fanmod("graph.txt") != w).nnz
        0
    """
    return convert.to_scipy(read_graph(path, format="fanmod", nodes=nodes))


def write_fanmod(w: GraphLike, path: str | Path) -> None:
    """Write the signs of a graph's links atomically, in the order of sources and targets.

    Raises:
        ValueError: a link of value 0, for which there is no colour.

    Example:
        >>> write_fanmod(signed_network(40, 0.1), "graph.txt")
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
