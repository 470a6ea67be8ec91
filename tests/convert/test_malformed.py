"""Inputs that cannot be converted are refused, before compiled code that would trust them."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from pairwise import pairwise
from testing import random_pattern, refusals

from sparse_engine import analysis, convert
from sparse_engine.analysis import RecurrentLayer
from sparse_engine.errors import EdgeListError
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import FromGraph

# Whatever takes a matrix of SciPy.
TAKERS = {
    "from_scipy": convert.from_scipy,
    "triad_census": analysis.triad_census,
    "structural_balance": analysis.structural_balance,
    "summary": analysis.summarize,
    "null_model": lambda w: analysis.null_model(w, n=2),
    "anneal": lambda w: analysis.anneal(w, target=1.0),
    "find_feed_forward_loops": analysis.find_feed_forward_loops,
    "topology_distance": lambda w: analysis.topology_distance([w], [w]),
    "recurrent distance": lambda w: analysis.topology_distance(
        [RecurrentLayer(w, w)], [RecurrentLayer(w, w)]
    ),
    "match_units": lambda w: analysis.distance.match_units(w, w),
    "FromGraph": lambda w: FromGraph(w).links(*w.shape, RandomKey(0)),
}


def sparse(form):
    w = scipy.sparse.random_array((6, 6), density=0.4, format="csr", rng=0)
    return w.tobsr((2, 3)) if form == "bsr" else w.asformat(form)


def put(array, position, value):
    array = array.copy()
    array[position] = value
    return array


MALFORMED = {
    "rises and falls": ("indptr", lambda w: put(w.indptr, 1, 40), "rises from 0, found"),
    "negative pointer": ("indptr", lambda w: put(w.indptr, 1, -7), "found -7 at position 1"),
    "first pointer": ("indptr", lambda w: put(w.indptr, 0, 1), "found 1 at position 0"),
    "last pointer": ("indptr", lambda w: put(w.indptr, -1, 99), "found .* at position|ends with"),
    "few pointers": ("indptr", lambda w: w.indptr[:2], "expected indptr of . entries, found 2"),
    "float pointers": ("indptr", lambda w: w.indptr * 1.0, "integer dtype, found float64"),
    "matrix of pointers": ("indptr", lambda w: w.indptr[None], "indptr of 1 dimensions, found 2"),
    "large index": ("indices", lambda w: put(w.indices, 1, 99), "found 99 at position 1"),
    "negative index": ("indices", lambda w: put(w.indices, 1, -1), "found -1 at position 1"),
    "few indices": ("indices", lambda w: w.indices[:1], "indices and entries"),
    "few values": ("data", lambda w: w.data[:1], "indices and entries"),
}


@pairwise(taker=[*TAKERS], form=["csr", "csc", "bsr"], fault=[*MALFORMED])
def test_compressed(taker, form, fault):
    w = sparse(form)
    part, malformed, message = MALFORMED[fault]
    setattr(w, part, malformed(w))
    with pytest.raises(ValueError, match=message):
        TAKERS[taker](w)


def test_blocks_that_do_not_divide():
    w = sparse("bsr")
    w.data = np.repeat(w.data, 2, axis=2)[:, :, :4]
    with pytest.raises(ValueError, match="expected blocks that divide 6 x 6, found 2 x 4"):
        convert.from_scipy(w)


def test_lists_of_different_lengths():
    w = sparse("lil")
    w.data[0].extend([1.0] * 1000)
    with pytest.raises(ValueError, match="6 rows with a value for each column number"):
        convert.from_scipy(w)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dok", "dia"])
@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_well_formed_is_taken_in_every_format(taker, form):
    w = sparse(form)
    if form == "csr":  # columns in any order
        w.indices, w.data = (
            np.concatenate([each[a:b][::-1] for a, b in zip(w.indptr, w.indptr[1:], strict=False)])
            for each in (w.indices, w.data)
        )
        w.has_sorted_indices = False
    TAKERS[taker](w)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.sparse_coo_tensor([[0]], torch.ones(1, 2), (2, 2)), "may have dense dimensions"),
        (
            torch.sparse_coo_tensor([[0], [-9]], [1.0], (2, 2), check_invariants=False),
            "expected cols in .*, found -9",
        ),
        (
            torch.sparse_csr_tensor([0, 40, 2], [0, 1], [1.0, 1], (2, 2), check_invariants=False),
            "found 40 after 0 at position 1",
        ),
        (
            torch.sparse_csr_tensor([0, 1, 2], [0, 9], [1.0, 1], (2, 2), check_invariants=False),
            "found 9 at position 1",
        ),
    ],
)
def test_tensors(tensor, message):
    for take in (convert.from_torch, analysis.triad_census):
        with pytest.raises(ValueError, match=message):
            take(tensor)


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
