"""Conversion from and to tensors of torch.sparse in CSR and COO layout, and of torch_sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparse_engine.extras import extra
from sparse_engine.nn import SparseWeight

if TYPE_CHECKING:
    from torch_sparse import SparseTensor


def from_torch(tensor: Tensor | SparseTensor, *, dtype: torch.dtype | None = None) -> SparseWeight:
    """Return a weight with the stored entries of a sparse tensor, zeros included.

    Args:
        tensor: matrix of torch.sparse in CSR or COO layout, or a ``torch_sparse.SparseTensor``; its
            rows are those of the weight.
        dtype: dtype of the ones for a SparseTensor without values; torch's default dtype by
            default.

    Raises:
        TypeError: another kind or layout.
        ValueError: not a matrix of numbers, malformed, or an entry stored twice.

    Example:
        >>> from_torch(torch.eye(3).to_sparse_csr()).nnz
        3
    """
    if not isinstance(tensor, Tensor):
        return _from_torch_sparse(tensor, dtype)
    if tensor.dim() != 2 or (tensor.layout == torch.sparse_coo and tensor.dense_dim()):
        raise ValueError(
            f"expected a matrix of numbers, found {tensor.layout} of shape {[*tensor.shape]}, "
            "which may have dense dimensions"
        )
    tensor = tensor.detach()
    shape = tensor.shape[0], tensor.shape[1]
    if tensor.layout == torch.sparse_csr:
        return SparseWeight.from_csr(
            tensor.crow_indices(), tensor.col_indices(), tensor.values(), shape
        )
    if tensor.layout == torch.sparse_coo:
        # Entries stored twice are refused; coalescing would sum them.
        rows, cols = tensor._indices()
        return SparseWeight.from_coo(rows, cols, tensor._values(), shape)
    raise TypeError(
        f"expected a tensor of layout torch.sparse_csr or torch.sparse_coo, found {tensor.layout}"
    )


def to_torch_coo(weight: SparseWeight) -> Tensor:
    """Return a coalesced COO tensor whose values share the weight's memory.

    Example:
        >>> to_torch_coo(model.weight).is_coalesced()
        True
    """
    indices = torch.stack([weight.rows(), weight.col_indices.long()])
    return torch.sparse_coo_tensor(
        indices, weight.values.detach(), weight.shape, is_coalesced=True, check_invariants=False
    )


def _from_torch_sparse(tensor: SparseTensor, dtype: torch.dtype | None) -> SparseWeight:
    if not (hasattr(tensor, "csr") and hasattr(tensor, "sparse_sizes")):
        raise TypeError(
            "expected a tensor of torch.sparse or a torch_sparse.SparseTensor, found "
            f"{type(tensor).__name__}"
        )
    rowptr, col, value = tensor.csr()
    if value is None:
        value = torch.ones(col.shape, dtype=dtype, device=col.device)
    return SparseWeight.from_csr(rowptr, col, value.detach(), tuple(tensor.sparse_sizes()))


def to_torch_sparse(weight: SparseWeight) -> SparseTensor:
    """Return a ``torch_sparse.SparseTensor`` whose values share the weight's memory.

    Raises:
        MissingLibrary: torch_sparse is not installed.
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
