"""Conversion from and to ``torch_sparse.SparseTensor``, the adjacency of graph networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sparse_engine.extras import extra
from sparse_engine.nn import SparseWeight

if TYPE_CHECKING:
    from torch_sparse import SparseTensor


def from_torch_sparse(tensor: SparseTensor, *, dtype: torch.dtype | None = None) -> SparseWeight:
    """Return a weight with the entries of a ``torch_sparse.SparseTensor``, zeros included.

    Args:
        tensor: a matrix with the same rows as the weight.
        dtype: dtype of the ones for a tensor without values; torch's default dtype by default.

    Raises:
        TypeError: not a SparseTensor.
        ValueError: values that are not one floating-point number for each entry, an entry stored
            twice, or indices out of range.
    """
    if not (hasattr(tensor, "csr") and hasattr(tensor, "sparse_sizes")):
        raise TypeError(f"expected a torch_sparse.SparseTensor, found {type(tensor).__name__}")
    rowptr, col, value = tensor.csr()
    if value is None:
        value = torch.ones(col.shape, dtype=dtype, device=col.device)
    return SparseWeight.from_csr(rowptr, col, value.detach(), tuple(tensor.sparse_sizes()))


def to_torch_sparse(weight: SparseWeight) -> SparseTensor:
    """Return a ``torch_sparse.SparseTensor`` whose values share the weight's memory.

    Raises:
        ImportError: torch_sparse is not installed.
    """
    with extra("torch-sparse"):
        from torch_sparse import SparseTensor
    return SparseTensor(
        rowptr=weight.crow_indices,
        col=weight.col_indices.long(),
        value=weight.values.detach(),
        sparse_sizes=tuple(weight.shape),
        is_sorted=True,
    )
