"""SciPy's npz files, validated completely."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparse_engine.convert.scipy import as_canonical, scipy_sparse
from sparse_engine.files import plausible_units

if TYPE_CHECKING:
    import scipy.sparse

# A file may unpack to this many bytes, or this many times its size; real matrices stay far below.
ALWAYS_UNPACKED = 1 << 28
MOST_PACKED = 100
# Characters of an error, which may have a name from the file.
MOST_SHOWN = 200


def read_npz(path: str | Path) -> scipy.sparse.csr_array:
    """Read a matrix that ``scipy.sparse.save_npz`` wrote, as CSR with sorted and unique columns.

    The sizes are checked before anything is read, and all entries before SciPy's own code, which
    trusts its arrays, converts them. Nothing is unpickled.

    Args:
        path: path of a file in any of SciPy's formats. Values of float32 and float64 are kept;
            other real numbers become float64.

    Raises:
        ValueError: a file of another kind, a damaged one, one that unpacks to implausibly many
            bytes, or a matrix that :func:`~sparse_engine.convert.from_scipy` refuses.
        MemoryError: a damaged file asks for more memory than there is.
        OSError: the file cannot be read.

    Example:
        >>> scipy.sparse.save_npz("graph.npz", signed_network(40, 0.1))
        >>> read_npz("graph.npz").shape
        (40, 40)
    """
    sparse = scipy_sparse()
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            size = os.fstat(file.fileno()).st_size
            if unpacked > max(ALWAYS_UNPACKED, MOST_PACKED * size):
                raise ValueError(f"{size:,} bytes that unpack to {unpacked:,}")
            file.seek(0)
            matrix = sparse.load_npz(file)
            most = plausible_units(matrix.data.size)
            if not all(0 <= extent <= most for extent in matrix.shape):
                raise ValueError(
                    f"expected a shape of two numbers in [0, {most:,}] with {matrix.data.size:,} "
                    f"entries, found {[*matrix.shape]}"
                )
            canonical = as_canonical(matrix)
            kept = canonical.dtype in (np.float32, np.float64)
            return canonical if kept else canonical.astype(np.float64)
        except MemoryError:
            raise
        except Exception as error:  # what zipfile and NumPy raise for damages is not documented
            found = str(error)[:MOST_SHOWN]
            raise ValueError(f"expected an npz file of SciPy in {path}, found: {found}") from error
