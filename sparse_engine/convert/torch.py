"""Conversion from and to torch.sparse's CSR and COO tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight


def from_torch(tensor: Tensor) -> SparseWeight:
    """Return a weight with the stored entries of a torch.sparse tensor in CSR or COO layout.

    Raises:
        TypeError: another layout.
        ValueError: not a matrix of numbers, malformed, or an entry stored twice.
    """
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


def to_torch_csr(weight: SparseWeight) -> Tensor:
    """Return ``weight.to_torch_csr()``: a CSR tensor whose values share the weight's memory."""
    return weight.to_torch_csr()


def to_torch_coo(weight: SparseWeight) -> Tensor:
    """Return a coalesced COO tensor whose values share the weight's memory."""
    indices = torch.stack([weight.rows(), weight.col_indices.long()])
    return torch.sparse_coo_tensor(
        indices, weight.values.detach(), weight.shape, is_coalesced=True, check_invariants=False
    )
