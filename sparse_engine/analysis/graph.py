"""Signed directed graphs in all forms that analyses accept."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import networkx as nx
import numpy as np
import scipy.sparse
import torch

from sparse_engine import convert
from sparse_engine.analysis._triads import Graph
from sparse_engine.analysis.graph_file import read_graph
from sparse_engine.convert.scipy import as_canonical, view_as_scipy
from sparse_engine.nn import SparseWeight

#: A square weight whose entry ``W[i, j]`` is the link from node j to node i; or a file of edges.
GraphLike: TypeAlias = (
    SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor | nx.DiGraph
    | str | Path
)  # fmt: skip

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
    elif isinstance(w, torch.Tensor):
        w = convert.from_torch(w)
    # Views without a copy, as analyses only read.
    if isinstance(w, SparseWeight):
        csr = view_as_scipy(w)
    elif scipy.sparse.issparse(w):
        csr = as_canonical(w)
    else:
        raise TypeError(
            "expected a SparseWeight, a SciPy or torch sparse matrix, a networkx.DiGraph or the "
            f"path of an edge list, found {type(w).__name__}"
        )
    out_features, in_features = csr.shape
    if out_features != in_features:
        raise ValueError(
            f"expected a square weight, found {out_features} x {in_features}: a graph has one set "
            "of nodes"
        )
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
    """Return the number of threads to use, that of torch; no result depends on it."""
    return torch.get_num_threads()
