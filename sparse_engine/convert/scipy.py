"""To and from SciPy's sparse arrays and matrices."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch

from sparse_engine.nn import SparseWeight


def from_scipy(matrix: scipy.sparse.sparray | scipy.sparse.spmatrix) -> SparseWeight:
    """A weight with the stored entries of a SciPy matrix of any format, zeros included.

    float32 and float64 are kept; other real numbers become float64.

    Raises:
        TypeError: not a sparse array or matrix.
        ValueError: not two-dimensional, complex, an entry stored twice, or indices out of range.
    """
    if not scipy.sparse.issparse(matrix):
        raise TypeError(f"expected a SciPy sparse array or matrix, found {type(matrix).__name__}")
    if matrix.ndim != 2 or np.iscomplexobj(matrix):
        raise ValueError(
            f"expected a real matrix, found {matrix.ndim} dimensions of {matrix.dtype}"
        )
    # Other formats are only read as coordinates: conversions to CSR would sum duplicates.
    entries = matrix.tocoo()
    values = entries.data
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    rows, cols = (np.asarray(index, np.int64) for index in (entries.row, entries.col))
    return SparseWeight.from_coo(
        torch.from_numpy(rows),
        torch.from_numpy(cols),
        torch.from_numpy(np.array(values)),
        tuple(map(int, matrix.shape)),
    )


def to_scipy(weight: SparseWeight) -> scipy.sparse.csr_array:
    """A ``csr_array`` copy of a weight; its ``tocoo()`` and ``tocsc()`` are the other formats."""
    return scipy.sparse.csr_array(
        (
            weight.values.detach().cpu().numpy().copy(),
            weight.col_indices.cpu().numpy().copy(),
            weight.crow_indices.cpu().numpy().copy(),
        ),
        shape=weight.shape,
    )
