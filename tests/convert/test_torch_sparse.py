"""Conversion to and from torch_sparse.SparseTensor, or a stand-in where it is not installed."""

import sys
from typing import NamedTuple

import pytest
import torch

from sparse_engine import convert
from sparse_engine.nn import SparseWeight


class Tensor(NamedTuple):
    """Stand-in with the interface that is asked of a SparseTensor."""

    rowptr: torch.Tensor
    col: torch.Tensor
    value: torch.Tensor | None
    sizes: list[int]

    def csr(self):
        return self.rowptr, self.col, self.value

    def sparse_sizes(self):
        return self.sizes


def weight():
    return SparseWeight.erdos_renyi(5, 7, density=0.3, dtype=torch.float64)


def test_round_trip():
    torch_sparse = pytest.importorskip("torch_sparse")
    before = weight()
    tensor = convert.to_torch_sparse(before)
    assert isinstance(tensor, torch_sparse.SparseTensor)
    assert torch.equal(tensor.to_dense(), before.to_dense())
    assert tensor.storage.value().data_ptr() == before.values.data_ptr()
    after = convert.from_torch(tensor)
    assert torch.equal(after.to_dense(), before.to_dense()) and after.dtype == torch.float64


def test_what_a_tensor_is_made_of(monkeypatch):
    made = {}
    module = type(sys)("torch_sparse")
    module.SparseTensor = lambda **arguments: made.update(arguments)
    monkeypatch.setitem(sys.modules, "torch_sparse", module)
    before = weight()
    convert.to_torch_sparse(before)
    assert torch.equal(made["rowptr"], before.crow_indices) and made["rowptr"].dtype == torch.int64
    assert torch.equal(made["col"], before.col_indices) and made["col"].dtype == torch.int64
    assert made["value"].data_ptr() == before.values.data_ptr()
    assert not made["value"].requires_grad
    assert made["sparse_sizes"] == (5, 7) and made["is_sorted"] is True


def test_what_is_made_of_a_tensor():
    w = weight()
    found = convert.from_torch(Tensor(w.crow_indices, w.col_indices.long(), w.values, [5, 7]))
    assert torch.equal(found.to_dense(), w.to_dense())
    assert found.values.data_ptr() != w.values.data_ptr()
    ones = convert.from_torch(Tensor(w.crow_indices, w.col_indices.long(), None, [5, 7]))
    assert torch.equal(ones.to_dense(), (w.to_dense() != 0).float())


def test_errors():
    with pytest.raises(TypeError, match=r"expected a tensor of torch.sparse or a torch_sparse"):
        convert.from_torch([[1.0]])
