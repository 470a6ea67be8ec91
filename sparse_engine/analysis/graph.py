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
    elif scipy.sparse.issparse(w) and not _is_canonical(w):
        w = convert.from_scipy(w)
    elif not isinstance(w, SparseWeight) and not scipy.sparse.issparse(w):
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
    csr = _shared(w) if isinstance(w, SparseWeight) else scipy.sparse.csr_array(w)
    wrong = np.isnan(csr.data)
    if wrong.any():
        raise ValueError(f"expected values that are numbers, found nan at link {wrong.argmax()}")
    return csr


def link_states(csr: scipy.sparse.csr_array) -> np.ndarray:
    """The state of each link, uint8 ``[nnz]``: its sign."""
    states = np.full(csr.nnz, ZERO, np.uint8)
    states[csr.data > 0] = POSITIVE
    states[csr.data < 0] = NEGATIVE
    return states


def native(csr: scipy.sparse.csr_array) -> Graph:
    """The graph as the native code takes it."""
    ptr, idx = csr.indptr.astype(np.int64), csr.indices.astype(np.int32, copy=False)
    return Graph(ptr, idx, link_states(csr))


def threads() -> int:
    """As many threads as torch uses; no result depends on it."""
    return torch.get_num_threads()


def _shared(weight: SparseWeight) -> scipy.sparse.csr_array:
    """A view of a weight on the CPU: analyses only read, and 10^7 links are not worth a copy."""
    parts = (weight.values.detach(), weight.col_indices, weight.crow_indices)
    return scipy.sparse.csr_array(tuple(part.cpu().numpy() for part in parts), shape=weight.shape)


def _is_canonical(matrix: scipy.sparse.sparray | scipy.sparse.spmatrix) -> bool:
    """Whether a matrix is CSR, with sorted and unique columns, that needs no conversion."""
    if matrix.format != "csr" or matrix.data.dtype not in (np.float32, np.float64):
        return False
    ptr, idx = matrix.indptr, matrix.indices
    if ptr[0] != 0 or (np.diff(ptr) < 0).any() or not ptr[-1] == len(idx) == len(matrix.data):
        return False
    increasing = idx[1:] > idx[:-1]
    starts = ptr[1:-1]
    increasing[starts[(starts > 0) & (starts < len(idx))] - 1] = True
    return bool(
        increasing.all() and (not len(idx) or (idx.min() >= 0 and idx.max() < matrix.shape[1]))
    )
