"""Readers of the formats of data sets: text in columns, MATLAB, and the IDX format of MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.supervised import Examples


@dataclass(frozen=True)
class Line:
    """Line of a text file, cut into fields; a ValueError says where a wrong one stands."""

    path: Path
    number: int
    fields: list[str]

    def floats(self, start: int, end: int) -> list[float]:
        """Return the finite numbers in the columns ``start`` to ``end - 1``."""
        found = []
        for column in range(start, end):
            try:
                number = float(self.fields[column])
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise self.error(f"a finite number in column {column + 1}", self.fields[column])
            found.append(number)
        return found

    def one_of(self, numbers: Mapping[str, int], column: int) -> int:
        """Return the number of the name in a column."""
        name = self.fields[column]
        if name not in numbers:
            raise self.error(f"one of {', '.join(numbers)} in column {column + 1}", name)
        return numbers[name]

    def error(self, expected: str, found: str) -> ValueError:
        """Return the error that says what was expected in this line of the file."""
        return ValueError(
            f"expected {expected}, found {found[:60]!r} in line {self.number} of {self.path}"
        )


def read_lines(path: Path, columns: int, *, separator: str = ",") -> Iterator[Line]:
    """Yield the lines of a text file that are not blank, each of so many fields."""
    # A file is read at once, so that none stays open where an error ends the loop.
    for number, text in enumerate(path.read_bytes().decode(errors="replace").split("\n"), 1):
        if not text.strip():
            continue
        line = Line(path, number, text.rstrip("\r").split(separator))
        if len(line.fields) != columns:
            raise line.error(f"{columns} columns", f"{len(line.fields)}: {text.strip()}")
        yield line


def read_mat(path: Path, examples: int, features: int, classes: int) -> Examples:
    """Read features and classes from a MATLAB file, as feature selection publishes data.

    Args:
        path: the file, with a matrix X of features and a matrix Y of classes from 1 on.
        examples: number of rows of X and Y.
        features: number of columns of X.
        classes: number of classes; those that are returned begin at 0.
    """
    from scipy.io import loadmat

    try:
        matrices = loadmat(path, variable_names=["X", "Y"])
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"expected a whole MATLAB file, found {path}: {error}") from error
    found = []
    for name, shape in (("X", (examples, features)), ("Y", (examples, 1))):
        matrix = np.asarray(matrices.get(name))
        if matrix.shape != shape or matrix.dtype.kind not in "fiu":
            raise ValueError(
                f"expected real numbers {name} of shape {[*shape]} in {path}, found {matrix.dtype} "
                f"of shape {[*matrix.shape]}"
            )
        found.append(matrix.astype(np.float64))
    x, y = found[0], found[1][:, 0] - 1
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"expected finite X, found {x[row, column]} at {row}, {column} in {path}")
    wrong = (y < 0) | (y >= classes) | (y != np.floor(y))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"expected classes of 1 to {classes}, found {y[at] + 1:g} at position {at} in {path}"
        )
    inputs = torch.from_numpy(x).to(torch.get_default_dtype())
    return Examples(inputs, torch.from_numpy(y.astype(np.int64)))


def read_idx(path: Path, *item: int) -> np.ndarray:
    """Read unsigned bytes from a gzipped IDX file, uint8 ``[items, *item]``."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"expected a whole gzip file, found {path}: {error}") from error
    sizes = 1 + len(item)
    content = np.frombuffer(data, np.uint8)[4 * (1 + sizes) :]
    # The third byte is the type, 8 for unsigned bytes, the fourth the number of sizes.
    wanted = struct.pack(f">{1 + sizes}I", 0x800 + sizes, len(content) // math.prod(item), *item)
    if not data.startswith(wanted) or len(content) % math.prod(item):
        raise ValueError(
            f"expected IDX of unsigned bytes of shape [items, {', '.join(map(str, item))}], found "
            f"the header {data[: len(wanted)].hex()} and {len(content):,} bytes in {path}"
        )
    return content.reshape(-1, *item)


def read_images(
    part: str, *, dataset: str, site: str, hashes: Mapping[str, str], folder: Path | None
) -> Examples:
    """Read images of 28 x 28 grey levels, scaled to [0, 1], ``[images, 784]``, and their classes.

    Args:
        part: ``train`` or ``t10k``, with which the names of the files begin.
        dataset: name of the data set's folder.
        site: address of the files.
        hashes: SHA-256 of each file by the beginning of its name, such as ``t10k-images-idx3``.
        folder: folder of the files; None for the usual places.
    """
    found = []
    for start in (f"{part}-images-idx3", f"{part}-labels-idx1"):
        name = f"{start}-ubyte.gz"
        found.append(DataFile(dataset, name, site + name, hashes[start]).find(folder))
    images, labels = read_idx(found[0], 28, 28), read_idx(found[1])
    if len(images) != len(labels):
        raise ValueError(
            f"expected a label for each of {len(images):,} images of {found[0]}, found "
            f"{len(labels):,} in {found[1]}"
        )
    check_labels(labels, 10, found[1])
    pixels = torch.from_numpy(images / 255).to(torch.get_default_dtype()).flatten(1)
    return Examples(pixels, torch.from_numpy(labels.astype("int64")))


def check_labels(labels: np.ndarray, classes: int, path: Path) -> None:
    """Raise ValueError for a label that is no class."""
    if labels.max(initial=0) >= classes:
        wrong = int((labels >= classes).argmax())
        raise ValueError(
            f"expected labels in [0, {classes}), found {labels[wrong]} at position {wrong} in "
            f"{path}"
        )
