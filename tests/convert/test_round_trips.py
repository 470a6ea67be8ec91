"""Every format brings back the same weight, in the stated orientation."""

import sys
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import assert_valid, random_pattern

from sparse_engine import convert
from sparse_engine.errors import EdgeListError
from sparse_engine.nn import SparseWeight


@st.composite
def weights(draw, *, square=False):
    rows = draw(st.integers(1, 12))
    cols = rows if square else draw(st.integers(1, 12))
    nnz = draw(st.integers(0, rows * cols))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    pattern = random_pattern(rows, cols, nnz, seed=draw(st.integers(0, 999)))
    return SparseWeight(torch.randn(nnz, dtype=dtype) * 10 ** draw(st.integers(-9, 9)), pattern)


def assert_same(found, wanted):
    assert_valid(found)
    assert found.shape == wanted.shape
    for own, other in zip(found.pattern, wanted.pattern, strict=True):
        assert torch.equal(own, other)
    assert torch.equal(found.values, wanted.values)


@given(weight=weights())
def test_scipy(weight):
    matrix = convert.to_scipy(weight)
    assert np.array_equal(matrix.toarray(), weight.to_dense().detach().numpy())
    for form in ("csr", "csc", "coo", "lil"):
        assert_same(convert.from_scipy(matrix.asformat(form)), weight)
    assert_same(convert.from_scipy(scipy.sparse.csr_matrix(matrix)), weight)
    assert_same(convert.from_scipy(scipy.sparse.coo_matrix(matrix)), weight)


@given(weight=weights())
def test_torch(weight):
    assert_same(convert.from_torch(weight.to_torch_csr()), weight)
    coo = convert.to_torch_coo(weight)
    assert torch.equal(coo.to_dense(), weight.to_dense())
    assert_same(convert.from_torch(coo), weight)


@given(weight=weights(square=True))
def test_networkx(weight):
    graph = convert.to_networkx(weight)
    assert graph.number_of_nodes() == weight.shape[0]
    assert_same(convert.from_networkx(graph, dtype=weight.values.dtype), weight)


@given(weight=weights())
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_edge_list(weight, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("edges") / f"w{suffix}"
    convert.write_edge_list(weight, path)
    if weight.nnz == 0 and suffix != ".csv":
        with pytest.raises(EdgeListError, match="found it empty"):
            convert.read_edge_list(path)
        return
    found = convert.read_edge_list(path, shape=weight.shape, dtype=weight.values.dtype)
    assert_same(found, weight)


def test_an_edge_runs_from_column_to_row(tmp_path):
    graph = nx.DiGraph([("a", "b"), ("b", "c")])
    graph["a"]["b"]["weight"] = 5.0
    dense = convert.from_networkx(graph, nodes=["c", "b", "a"]).to_dense()
    assert dense[1, 2] == 5 and dense[0, 1] == 1 and dense.count_nonzero() == 2
    path = tmp_path / "w.csv"
    path.write_text("Id,Source,Target,Weight\n0,0,1,2.5\n")
    assert convert.read_edge_list(path).to_dense().tolist() == [[0, 0], [2.5, 0]]


def test_stored_zeros_stay_links():
    matrix = scipy.sparse.csr_array((np.zeros(2), [0, 1], [0, 1, 2]), shape=(2, 2))
    assert convert.from_scipy(matrix).nnz == 2


def test_unweighted_tab_separated(tmp_path):
    path = tmp_path / "w.txt"
    path.write_text("0\t1\n2\t0\n")
    assert convert.read_edge_list(path).to_dense().tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_reference_files(data):
    trained = sorted((data / "topologies" / "trained").rglob("*.csv"))
    generated = sorted((data / "topologies" / "generated").rglob("*.txt"))
    assert trained and generated
    for path in (*trained[:3], *generated[:3]):
        weight = convert.read_edge_list(path)
        lines = len(path.read_text().splitlines()) - (path.suffix == ".csv")
        assert weight.nnz == lines
        assert_valid(weight)


class Standing(NamedTuple):
    """Stand-in with the interface that is asked of a SparseTensor."""

    rowptr: torch.Tensor
    col: torch.Tensor
    value: torch.Tensor | None
    sizes: list[int]

    def csr(self):
        return self.rowptr, self.col, self.value

    def sparse_sizes(self):
        return self.sizes


def some_weight():
    return SparseWeight.erdos_renyi(5, 7, density=0.3, dtype=torch.float64)


def test_a_tensor_of_torch_sparse():
    torch_sparse = pytest.importorskip("torch_sparse")
    before = some_weight()
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
    before = some_weight()
    convert.to_torch_sparse(before)
    assert torch.equal(made["rowptr"], before.crow_indices) and made["rowptr"].dtype == torch.int64
    assert torch.equal(made["col"], before.col_indices) and made["col"].dtype == torch.int64
    assert made["value"].data_ptr() == before.values.data_ptr()
    assert not made["value"].requires_grad
    assert made["sparse_sizes"] == (5, 7) and made["is_sorted"] is True


def test_what_is_made_of_a_tensor():
    w = some_weight()
    found = convert.from_torch(Standing(w.crow_indices, w.col_indices.long(), w.values, [5, 7]))
    assert torch.equal(found.to_dense(), w.to_dense())
    assert found.values.data_ptr() != w.values.data_ptr()
    ones = convert.from_torch(Standing(w.crow_indices, w.col_indices.long(), None, [5, 7]))
    assert torch.equal(ones.to_dense(), (w.to_dense() != 0).float())
