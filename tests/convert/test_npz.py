"""SciPy's npz files: what it writes is read, and what it would not write is refused."""

import zipfile

import numpy as np
import pytest
from pairwise import pairwise
from scipy.sparse import random_array, save_npz

from sparse_engine import convert
from sparse_engine.convert import npz


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
