"""Conversion from and to SciPy's sparse arrays and matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_engine.convert._check_scipy import check_scipy, scipy_sparse
from sparse_engine.nn import SparseWeight

if TYPE_CHECKING:
    import scipy.sparse

    from sparse_engine.convert._check_scipy import SciPyMatrix


def from_scipy(matrix: SciPyMatrix) -> SparseWeight:
    """Return a weight with the stored entries of a SciPy matrix of any format, zeros included.

    float32 and float64 are kept; other real numbers become float64. The matrix is checked
    completely before SciPy's own code, which trusts its arrays, converts it.

    Raises:
        TypeError: not a sparse array or matrix.
        ValueError: not two-dimensional, complex, malformed, or an entry stored twice.
    """
    check_scipy(matrix)
    # Coordinates keep duplicates, which a conversion to CSR would sum.
    entries = matrix.tocoo()
    values = entries.data
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    rows, cols = (np.asarray(index, np.int64) for index in (entries.row, entries.col))
    return SparseWeight.from_coo(
        torch.from_numpy(rows),
        torch.from_numpy(cols),
        torch.from_numpy(np.array(values)),
        (int(matrix.shape[0]), int(matrix.shape[1])),
    )


def to_scipy(weight: SparseWeight) -> scipy.sparse.csr_array:
    """Return a ``csr_array`` copy of a weight; ``tocoo()`` and ``tocsc()`` give other formats.

    Raises:
        ValueError: values of a dtype that SciPy does not know, such as bfloat16.
    """
    return view_as_scipy(weight).copy()


def view_as_scipy(weight: SparseWeight) -> scipy.sparse.csr_array:
    """Return a ``csr_array`` that shares its values with a weight on the CPU.

    Raises:
        ValueError: as :func:`to_scipy`.
    """
    parts = (values_of(weight), weight.col_indices.cpu().numpy(), weight.crow_indices.cpu().numpy())
    return scipy_sparse().csr_array(parts, shape=weight.shape)


def values_of(weight: SparseWeight) -> np.ndarray:
    """Return the values of a weight, which the array shares with a weight on the CPU.

    Raises:
        ValueError: neither float32 nor float64.
    """
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"expected values of float32 or float64, found {weight.dtype}; weight.float() has such"
        )
    return weight.values.detach().cpu().numpy()


def as_canonical(matrix: SciPyMatrix) -> scipy.sparse.csr_array:
    """Return a matrix as CSR with sorted and unique columns, without a copy if it is that already.

    A matrix that is not copied keeps its dtype; a copy has the dtype of :func:`from_scipy`.

    Raises:
        TypeError: not a sparse array or matrix.
        ValueError: a matrix that :func:`from_scipy` refuses.
    """
    check_scipy(matrix)
    if matrix.format == "csr" and _rises(matrix.indptr, matrix.indices):
        return scipy_sparse().csr_array(matrix)
    return view_as_scipy(from_scipy(matrix))


def _rises(indptr: np.ndarray, indices: np.ndarray) -> bool:
    """Whether columns rise within each row of a CSR matrix that is known to be valid."""
    rises = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rises[starts[(starts > 0) & (starts < len(indices))] - 1] = True
    return bool(rises.all())
