"""Edge lists and npz files: what is written is read again, and what is damaged is refused."""

import sys
import zipfile
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from pairwise import pairwise
from scipy.sparse import random_array, save_npz
from testing import assert_valid, random_pattern, refusals

from sparse_engine import analysis, convert
from sparse_engine.analysis import RecurrentLayer
from sparse_engine.convert import npz
from sparse_engine.errors import EdgeListError
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import FromGraph


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


def matrix(rows=6, columns=12):
    return random_array((rows, columns), density=0.3, format="csr", rng=0)


@pairwise(
    form=["csr", "csc", "bsr", "coo", "dia"],
    dtype=[np.float32, np.float64, np.int8, bool],
    compressed=[False, True],
    as_matrix=[False, True],
)
def test_round_trip(tmp_path, form, dtype, compressed, as_matrix):
    w = (matrix() * 100).astype(dtype).asformat(form)
    save_npz(tmp_path / "w.npz", w._coo_container(w).asformat(form) if as_matrix else w, compressed)
    found = convert.read_npz(tmp_path / "w.npz")
    assert found.format == "csr" and found.has_canonical_format
    assert found.dtype == (dtype if dtype in (np.float32, np.float64) else np.float64)
    assert (found.toarray() == w.toarray()).all()


def test_no_links(tmp_path):
    save_npz(tmp_path / "w.npz", matrix() * 0)
    assert convert.read_npz(tmp_path / "w.npz").shape == (6, 12)


def parts(**changes):
    """The members of a file of a 6 x 12 matrix, some of them changed or, for None, left out."""
    w = matrix()
    members = {"indptr": w.indptr, "indices": w.indices, "data": w.data}
    members |= {"format": b"csr", "shape": w.shape} | changes
    return {name: np.asarray(each) for name, each in members.items() if each is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indptr": [0, 40, 2, 3, 4, 5, 6]}, "rises from 0, found 2 at position 2 after 40"),
        ({"indptr": None}, "indptr is not a file in the archive"),
        ({"indptr": 7}, "should be 1-D"),
        ({"indices": np.full(22, 2**40)}, r"indices in \[0, 12\), found 1099511627776"),
        ({"indices": np.full(22, -5)}, r"indices in \[0, 12\), found -5 at position 0"),
        ({"data": matrix().data * 1j}, "expected a real matrix, found 2 dimensions of complex128"),
        ({"shape": [72]}, r"\(72,\)"),
        ({"shape": [6, -12]}, "cannot be negative"),
        ({"shape": [6, 2_000_000_000]}, r"in \[0, 10,000,000\] with 22 entries"),
        ({"format": b"lil"}, "format lil"),
        ({"format": None}, "does not contain"),
        ({"format": "x" * 10_000}, "Unknown format.{,200}$"),
        ({"format": b"coo", "row": [2**32], "col": [0], "data": [1.0]}, "index 4294967296 exceeds"),
        ({"format": b"coo", "row": [-1], "col": [0], "data": [1.0]}, "negative axis 0 index"),
        ({"format": b"coo", "row": [0, 0], "col": [1, 1], "data": [1.0, 1]}, "a duplicate link"),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    np.savez(tmp_path / "w.npz", **parts(**changes))
    with pytest.raises(ValueError, match=f"expected an npz file of SciPy in .*{message}"):
        convert.read_npz(tmp_path / "w.npz")


def test_no_pickle_is_opened(tmp_path):
    objects = np.array([print], dtype=object)
    np.savez(tmp_path / "w.npz", **parts(data=objects))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        convert.read_npz(tmp_path / "w.npz")


def test_a_file_that_unpacks_to_implausibly_much(tmp_path, monkeypatch):
    """The sizes in the archive decide, before anything is unpacked."""
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **parts(indices=np.zeros(10**6, int), data=np.zeros(10**6)))
    monkeypatch.setattr(npz, "ALWAYS_UNPACKED", 1 << 20)
    with pytest.raises(ValueError, match=r"that unpack to 16,000,\d\d\d"):
        convert.read_npz(path)


@pytest.mark.parametrize("length", ["1000000000000", "21"])
def test_an_array_of_another_size_than_its_member(tmp_path, length):
    """For the first header NumPy asks for 8 TB."""
    whole, path = tmp_path / "w.npz", tmp_path / "x.npz"
    np.savez(whole, **parts())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name == "data.npy":
                old_header = b"(22,), }            "
                member = member.replace(old_header, f"({length},), }}".encode().ljust(20))
            new.writestr(name, member)
    with pytest.raises((ValueError, MemoryError)):
        convert.read_npz(path)


def test_what_is_no_archive(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="not a zip file"):
        convert.read_npz(tmp_path / "w.npz")
    with pytest.raises(FileNotFoundError):
        convert.read_npz(tmp_path / "absent.npz")


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
