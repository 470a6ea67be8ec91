"""What every analysis takes: a signed directed graph in any of its forms."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import scipy.sparse
import torch

from sparse_engine import convert
from sparse_engine.analysis._triads import Graph
from sparse_engine.nn import SparseWeight

#: A square weight, of which ``W[i, j]`` is the link from node j to node i; or a file of edges.
GraphLike = (
    SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor | nx.DiGraph
    | str | Path
)  # fmt: skip

#: The states of a link, which are what the native code counts; 0 is no link.
POSITIVE, NEGATIVE, ZERO = 1, 2, 3


def as_csr(w: GraphLike) -> scipy.sparse.csr_array:
    """The links of a graph as a valid CSR array, stored zeros included.

    Args:
        w: a :class:`SparseWeight`, a SciPy sparse array or matrix, a ``torch.sparse_csr`` or
            ``torch.sparse_coo`` tensor, a networkx DiGraph, or the path of an edge list.

    Raises:
        TypeError: anything else.
        ValueError: not square, a value that is not a number, or what :mod:`sparse_engine.convert`
            refuses, such as a link that is given twice.
    """
    if isinstance(w, str | Path):
        w = convert.read_edge_list(w, dtype=torch.float64)
    elif isinstance(w, nx.Graph):
        w = convert.from_networkx(w, dtype=torch.float64)
    elif isinstance(w, torch.Tensor):
        w = convert.from_torch(w)
    elif scipy.sparse.issparse(w):
        w = convert.from_scipy(w)
    elif not isinstance(w, SparseWeight):
        raise TypeError(
            "expected a SparseWeight, a SciPy or torch sparse matrix, a networkx.DiGraph or the "
            f"path of an edge list, found {type(w).__name__}"
        )
    out_features, in_features = w.shape
    if out_features != in_features:
        raise ValueError(
            f"expected a square weight, found {out_features} x {in_features}: a graph has one set "
            "of nodes"
        )
    csr = convert.to_scipy(w)
    wrong = np.isnan(csr.data)
    if wrong.any():
        raise ValueError(f"expected values that are numbers, found nan at link {wrong.argmax()}")
    return csr


def link_states(csr: scipy.sparse.csr_array) -> np.ndarray:
    """The state of each link, uint8 ``[nnz]``: its sign."""
    return np.select([csr.data > 0, csr.data < 0], [POSITIVE, NEGATIVE], ZERO).astype(np.uint8)


def native(csr: scipy.sparse.csr_array) -> Graph:
    """The graph as the native code takes it."""
    return Graph(csr.indptr.astype(np.int64), csr.indices.astype(np.int32), link_states(csr))


def threads() -> int:
    """As many threads as torch uses; no result depends on it."""
    return torch.get_num_threads()
