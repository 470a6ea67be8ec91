"""Inputs that cannot be converted are refused with the reason and the place."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from testing import random_pattern, refusals

from sparse_engine import convert
from sparse_engine.errors import EdgeListError
from sparse_engine.nn import SparseWeight

HEADER = "Id,Source,Target,Weight\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found it empty"),
        ("Id,From,To\n1,2,3\n", "expected .* to begin with 'Id,Source,Target,Weight'"),
        (HEADER + "0,0,1,1.0\n1,2\n", "expected 4 numbers separated by ',', found '1,2' in line 3"),
        (HEADER + "0,0,x,1.0\n", "found '0,0,x,1.0' in line 2"),
        (HEADER + "0,0,1,nan\n", "expected finite weights, found nan in line 2"),
        (HEADER + "0,0,1,1\n1,1,1,inf\n", "found inf in line 3"),
        (HEADER + "0,-1,1,1.0\n", "integers from 0, found -1, 1 in line 2"),
        (HEADER + "0,0.5,1,1.0\n", "found 0.5, 1 in line 2"),
        (HEADER + "0,0,3000000000,1.0\n", r"found 0, 3e\+09 in line 2"),
        (HEADER + "0,0,1,1.0\n1,0,1,2.0\n", "a duplicate link"),
        ("0\t1\t1.0\n0\t2", "as many numbers as the first"),
        ("0\t1\t1.0\n0\n", r"expected 2 or 3 numbers separated by '\\t', found '0' in line 2"),
    ],
)
def test_edge_list_lines(tmp_path, content, message):
    path = tmp_path / "edges.csv"
    path.write_text(content)
    with pytest.raises(EdgeListError, match=message):
        convert.read_edge_list(path)


def test_edge_list_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        convert.read_edge_list(tmp_path / "none.csv")
    weight = SparseWeight(torch.ones(2), random_pattern(3, 3, 2))
    with pytest.raises(ValueError, match=r"ends in .csv, .tsv or .txt"):
        convert.write_edge_list(weight, tmp_path / "w.json")
    path = tmp_path / "w.csv"
    path.write_text(HEADER + "0,5,0,1.0\n")
    with pytest.raises(EdgeListError, match=r"expected cols in \[0, 3\), found 5"):
        convert.read_edge_list(path, shape=(3, 3))


TWICE = scipy.sparse.coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(2, 2))
from_networkx, Graph = convert.from_networkx, nx.DiGraph
test_what_cannot_be_converted_is_refused = refusals(
    ("duplicate link", lambda: convert.from_scipy(TWICE)),
    ("SciPy sparse array or matrix, found ndarray", lambda: convert.from_scipy(np.eye(2))),
    ("a real matrix", lambda: convert.from_scipy(scipy.sparse.csr_array(np.eye(2) * 1j))),
    (
        "duplicate link",
        lambda: convert.from_torch(torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (2, 2))),
    ),
    ("sparse_csr or .* found torch.strided", lambda: convert.from_torch(torch.eye(2))),
    ("a tensor of torch.sparse or a torch_sparse", lambda: convert.from_torch([[1.0]])),
    (r"a networkx.DiGraph, found Graph", lambda: from_networkx(nx.Graph([(0, 1)]))),
    ("found MultiDiGraph", lambda: from_networkx(nx.MultiDiGraph([(0, 1)]))),
    ("graph's 2 nodes once, found 1 nodes", lambda: from_networkx(Graph([(0, 1)]), nodes=[0])),
    (
        "expected a square weight, found 2 x 3",
        lambda: convert.to_networkx(SparseWeight(torch.ones(2), random_pattern(2, 3, 2))),
    ),
    error=(ValueError, TypeError),
)
