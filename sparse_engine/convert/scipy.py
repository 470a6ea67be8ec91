"""Conversion from and to SciPy's sparse arrays and matrices."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from sparse_engine.extras import extra
from sparse_engine.nn import SparseWeight

if TYPE_CHECKING:
    import scipy.sparse

    #: A sparse array or matrix of any format.
    SciPyMatrix: TypeAlias = scipy.sparse.sparray | scipy.sparse.spmatrix


def scipy_sparse() -> ModuleType:
    """Import ``scipy.sparse``, which serving a network does not need."""
    with extra("analysis"):
        import scipy.sparse
    return scipy.sparse


def check_scipy(matrix: SciPyMatrix) -> None:
    """Check that a matrix is real, two-dimensional and well formed, without calling SciPy.

    The formats COO, DIA and DOK are not checked further: SciPy converts them in Python.
    """
    if not scipy_sparse().issparse(matrix):
        raise TypeError(f"expected a SciPy sparse array or matrix, found {type(matrix).__name__}")
    if len(matrix.shape) != 2 or np.iscomplexobj(matrix):
        raise ValueError(
            f"expected a real matrix, found {len(matrix.shape)} dimensions of {matrix.dtype}"
        )
    if matrix.format in ("csr", "csc", "bsr"):
        check_compressed(matrix.format, matrix.shape, matrix.indptr, matrix.indices, matrix.data)
    elif matrix.format == "lil":
        lengths = [[*map(len, lists)] for lists in (matrix.rows, matrix.data)]
        if lengths[0] != lengths[1] or len(lengths[0]) != matrix.shape[0]:
            raise ValueError(f"expected {matrix.shape[0]} rows with a value for each column number")


def check_compressed(
    form: str, shape: tuple[int, int], indptr: np.ndarray, indices: np.ndarray, data: np.ndarray
) -> None:
    """Check the arrays of a "csr", "csc" or "bsr" matrix; columns need not be sorted or unique."""
    blocks = form == "bsr"
    arrays = ("indptr", indptr, 1), ("indices", indices, 1), ("data", data, 3 if blocks else 1)
    for name, array, dimensions in arrays:
        if array.ndim != dimensions:
            raise ValueError(f"expected {name} of {dimensions} dimensions, found {array.ndim}")
        if name != "data" and array.dtype.kind not in "iu":
            raise ValueError(f"expected {name} of an integer dtype, found {array.dtype}")
    block = data.shape[1:] if blocks else (1, 1)
    if 0 in block or shape[0] % block[0] or shape[1] % block[1]:
        raise ValueError(
            f"expected blocks that divide {shape[0]} x {shape[1]}, found {block[0]} x {block[1]}"
        )
    major, minor = shape[0] // block[0], shape[1] // block[1]
    if form == "csc":
        major, minor = minor, major
    if len(indptr) != major + 1:
        raise ValueError(f"expected indptr of {major + 1} entries, found {len(indptr)}")
    # Differences would wrap around in unsigned integers.
    falls = np.append(indptr[0] != 0, indptr[1:] < indptr[:-1])
    if falls.any():
        at = int(falls.argmax())
        raise ValueError(
            f"expected indptr that rises from 0, found {indptr[at]} at position {at}"
            + (f" after {indptr[at - 1]}" if at else "")
        )
    if not indptr[-1] == len(indices) == len(data):
        raise ValueError(
            f"expected {indptr[-1]} indices and entries, as many as indptr ends with, found "
            f"{len(indices)} and {len(data)}"
        )
    wrong = (indices < 0) | (indices >= minor)
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"expected indices in [0, {minor}), found {indices[at]} at position {at}")


def from_scipy(matrix: SciPyMatrix) -> SparseWeight:
    """Return a weight with the stored entries of a SciPy matrix of any format, zeros included.

    float32 and float64 are kept; other real numbers become float64. The matrix is checked
    completely before SciPy's own code, which trusts its arrays, converts it.

    Raises:
        TypeError: not a sparse array or matrix.
        ValueError: not two-dimensional, complex, malformed, or an entry stored twice.

    Example:
        >>> from_scipy(signed_network(40, 0.1)).nnz
        156
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

    Example:
        >>> to_scipy(model.weight).shape
        (6, 6)
    """
    return view_as_scipy(weight).copy()


def view_as_scipy(weight: SparseWeight) -> scipy.sparse.csr_array:
    """Return a ``csr_array`` that shares its values with a weight on the CPU."""
    parts = (values_of(weight), weight.col_indices.cpu().numpy(), weight.crow_indices.cpu().numpy())
    return scipy_sparse().csr_array(parts, shape=weight.shape)


def values_of(weight: SparseWeight) -> np.ndarray:
    """Return the values of a weight, which the array shares with a weight on the CPU."""
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"expected values of float32 or float64, found {weight.dtype}; weight.float() has such"
        )
    return weight.values.detach().cpu().numpy()


def as_canonical(matrix: SciPyMatrix) -> scipy.sparse.csr_array:
    """Return a matrix as CSR with sorted and unique columns, without a copy if it is that already.

    A matrix that is not copied keeps its dtype; a copy has the dtype of :func:`from_scipy`, which
    refuses the same.
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
