"""SciPy's npz files, validated completely."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy

from sparse_engine.convert.scipy import as_canonical, check_compressed, scipy_sparse
from sparse_engine.files import plausible_units

if TYPE_CHECKING:
    import scipy.sparse

    from sparse_engine.convert.scipy import SciPyMatrix

#: Arrays of each format with their numbers of dimensions; all but data are integers.
ARRAYS = {
    "csr": {"indptr": 1, "indices": 1, "data": 1},
    "csc": {"indptr": 1, "indices": 1, "data": 1},
    "bsr": {"indptr": 1, "indices": 1, "data": 3},
    "coo": {"row": 1, "col": 1, "data": 1},
    "dia": {"offsets": 1, "data": 2},
}
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# A file may unpack to this many bytes, or this many times its size; real matrices stay far below.
ALWAYS_UNPACKED = 1 << 28
MOST_PACKED = 100
# Bytes of the arrays with the format's name and with the shape, headers included.
SMALL = 1 << 10


def read_npz(path: str | Path) -> scipy.sparse.csr_array:
    """Read a matrix that ``scipy.sparse.save_npz`` wrote, as CSR with sorted and unique columns.

    Each array's kind, dimensions and size are checked before it is read, and all entries before
    SciPy sees them. Nothing is unpickled.

    Args:
        path: path of a file in any of SciPy's formats. Values of float32 and float64 are kept;
            other real numbers become float64.

    Raises:
        ValueError: a file of another kind, a damaged one, one that unpacks to implausibly many
            bytes, or a matrix that :func:`~sparse_engine.convert.from_scipy` refuses.
        OSError: the file cannot be read.
    """
    sparse = scipy_sparse()
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return as_canonical(_matrix(sparse, archive, os.fstat(file.fileno()).st_size))
        except MemoryError:
            raise
        except Exception as error:  # what zipfile raises for damaged files is not documented
            raise ValueError(f"expected an npz file of SciPy in {path}, found: {error}") from error


def _matrix(sparse: ModuleType, archive: zipfile.ZipFile, size: int) -> SciPyMatrix:
    form = _array(archive, "format", 0, "SU", SMALL).item()
    form = form.decode("ascii") if isinstance(form, bytes) else form
    if form not in ARRAYS:
        raise ValueError(f"expected a format among {', '.join(ARRAYS)}, found {form!r}")
    unpacked = sum(archive.getinfo(f"{name}.npy").file_size for name in ARRAYS[form])
    if unpacked > max(ALWAYS_UNPACKED, MOST_PACKED * size):
        raise ValueError(f"expected a matrix, found {size:,} bytes that unpack to {unpacked:,}")
    shape = tuple(_array(archive, "shape", 1, "iu", SMALL).tolist())
    arrays = {
        name: _array(archive, name, dimensions, "biuf" if name == "data" else "iu", unpacked)
        for name, dimensions in ARRAYS[form].items()
    }
    data = arrays.pop("data")
    if data.dtype not in (np.float32, np.float64):
        data = data.astype(np.float64)
    most = plausible_units(data.size)
    if len(shape) != 2 or not all(0 <= extent <= most for extent in shape):
        raise ValueError(
            f"expected a shape of two numbers in [0, {most:,}] with {data.size:,} entries, found "
            f"{[*shape]}"
        )
    if form in ("csr", "csc", "bsr"):
        indptr, indices = arrays.values()
        check_compressed(form, shape, indptr, indices, data)
        make = getattr(sparse, f"{form}_array")
        return make((data, indices, indptr), shape=shape)
    # SciPy converts these to 32 bits without a check.
    for name, array in arrays.items():
        if array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
            raise ValueError(f"expected {name} of 32 bits, found {array.min()} to {array.max()}")
    if form == "coo":
        return sparse.coo_array((data, tuple(arrays.values())), shape=shape)
    return sparse.dia_array((data, arrays["offsets"]), shape=shape)


def _array(
    archive: zipfile.ZipFile, name: str, dimensions: int, kinds: str, most: int
) -> np.ndarray:
    """Read an array of given kinds of numbers, of at most ``most`` bytes with its header."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > most:
        raise ValueError(f"expected {name} of at most {most:,} bytes, found {info.file_size:,}")
    with archive.open(info) as file:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"expected {name} in version 1.0 or 2.0 of npy, found {version}")
        shape, _, dtype = HEADERS[version](file)
        if dtype.kind not in kinds or len(shape) != dimensions:
            raise ValueError(
                f"expected {name} of {dimensions} dimensions and a dtype of kind {kinds!r}, found "
                f"shape {[*shape]} of {dtype}"
            )
        missing = math.prod(shape) * dtype.itemsize - (info.file_size - file.tell())
        if missing:
            raise ValueError(f"expected {name} of shape {[*shape]}, found {missing} bytes missing")
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
