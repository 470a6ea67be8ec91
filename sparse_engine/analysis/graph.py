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
from sparse_engine.ops._dispatch import native as _native

#: A square weight whose entry ``W[i, j]`` is the link from node j to node i; or a file of edges.
GraphLike: TypeAlias = (
    SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor | nx.DiGraph
    | str | Path
)  # fmt: skip

#: A weight whose entry ``W[i, j]`` is the link from input j to unit i; a stored zero is a link.
WeightLike: TypeAlias = SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor
#: Description of such a weight in errors.
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
    """Return the links of a weight of any shape as a valid CSR array, stored zeros included.

    The array is a view where no copy is needed, as analyses only read.

    Args:
        w: a :class:`SparseWeight`, a SciPy sparse array or matrix, a ``torch.sparse_csr`` or
            ``torch.sparse_coo`` tensor.
        expected: what the error for anything else says was expected.

    Raises:
        TypeError: anything else.
        ValueError: a value that is not a number, or a matrix that :mod:`sparse_engine.convert`
            refuses.
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
