"""Edge-list files: ``Id,Source,Target,Weight`` with that header, or tab-separated without one.

Source is a column of the weight, target a row.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sparse_engine.convert.scipy import values_of
from sparse_engine.errors import EdgeListError
from sparse_engine.files import plausible_units, write_atomically
from sparse_engine.machine import memory_error_names
from sparse_engine.nn import SparseWeight

HEADER = "Id,Source,Target,Weight"


class EdgeTable(NamedTuple):
    """Links of an edge-list file: int64 units, and float64 values, ones where the file has none."""

    path: Path
    sources: np.ndarray
    targets: np.ndarray
    values: np.ndarray
    lines_before: int  # 1 with the header, 0 without

    def weight(
        self, *, shape: tuple[int, int] | None = None, dtype: torch.dtype | None = None
    ) -> SparseWeight:
        """Return the links as a weight, see :func:`read_edge_list`."""
        shape = shape or (self._units(),) * 2
        targets, sources, values = map(torch.from_numpy, (self.targets, self.sources, self.values))
        values = values.to(dtype or torch.get_default_dtype())
        try:
            with memory_error_names(f"a {shape[0]} x {shape[1]} weight of {self.path}"):
                return SparseWeight.from_coo(targets, sources, values, shape)
        except ValueError as error:
            raise EdgeListError(f"in {self.path}: {error}") from error

    def _units(self) -> int:
        if not len(self.sources):
            return 0
        largest = np.maximum(self.sources, self.targets)
        most = plausible_units(len(largest))
        if largest.max() >= most:
            raise EdgeListError(
                f"expected unit numbers below {most:,} with {len(largest):,} links, found "
                f"{largest.max()} in line {largest.argmax() + self.lines_before + 1} of "
                f"{self.path}; say how many units there are (shape=, on the command line --nodes) "
                "if that is right"
            )
        return int(largest.max()) + 1


def read_edge_list(
    path: str | Path, *, shape: tuple[int, int] | None = None, dtype: torch.dtype | None = None
) -> SparseWeight:
    """Read a weight from a file; the first line tells which of the two formats it has.

    Args:
        path: path of the file. Tab-separated lines are ``source target`` or ``source target
            weight``; without a third column all weights are 1.
        shape: ``(out_features, in_features)``; by default square, one more than the largest unit
            number, which has to be plausible: below 10^7, or ten times the number of links.
        dtype: dtype of the values; torch's default dtype by default.

    Raises:
        EdgeListError: a line that is short, not a number, negative, not finite, or a link that is
            given twice; an empty file; or, without ``shape``, an implausible unit number.
        MemoryError: there is not enough memory for a weight of so many units.
        OSError: the file cannot be read.

    Example:
        >>> write_edge_list(model.weight, "links.csv")
        >>> read_edge_list("links.csv", shape=(6, 6)).nnz == model.weight.nnz
        True
    """
    return read_edge_table(path).weight(shape=shape, dtype=dtype)


def read_edge_table(path: str | Path) -> EdgeTable:
    """Read the lines of an edge-list file, see :func:`read_edge_list`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise EdgeListError(f"expected an edge list in {path}, found no text: {error}") from error
    first, _, rest = text.partition("\n")
    if not first.strip():
        raise EdgeListError(f"expected an edge list in {path}, found it empty")
    lines_before = int(first.strip() == HEADER)
    if lines_before:
        table = _numbers(rest, ",", path, skipped=1, columns=(4,))[:, 1:]
    elif "\t" in first:
        table = _numbers(text, "\t", path, skipped=0, columns=(2, 3))
    else:
        raise EdgeListError(
            f"expected {path} to begin with {HEADER!r} or a tab-separated line, found "
            f"{_shown(first)}"
        )
    ids = table[:, :2]
    values = table[:, 2].copy() if table.shape[1] == 3 else np.ones(len(table))
    no_ids = ((ids < 0) | (ids != np.floor(ids)) | (ids > np.iinfo(np.int32).max)).any(1)
    for wrong, expected, entries in (
        (no_ids, "unit numbers that are integers from 0", ids),
        (~np.isfinite(values), "finite weights", values[:, None]),
    ):
        if wrong.any():
            line = int(wrong.argmax())
            found = ", ".join(f"{number:g}" for number in entries[line])
            raise EdgeListError(
                f"expected {expected}, found {found} in line {line + lines_before + 1} of {path}"
            )
    sources, targets = np.ascontiguousarray(ids.T, dtype=np.int64)
    return EdgeTable(path, sources, targets, values, lines_before)


def write_edge_list(weight: SparseWeight, path: str | Path) -> None:
    """Write a weight atomically: a ``.csv`` with the header, ``.tsv``/``.txt`` tab-separated.

    Values are written with as many digits as bring back the same bits.

    Raises:
        ValueError: another suffix, or values that are neither float32 nor float64.

    Example:
        >>> write_edge_list(model.weight, "links.tsv")
    """
    path = Path(path)
    rows, cols = weight.rows().tolist(), weight.col_indices.tolist()
    links = zip(cols, rows, map(str, values_of(weight)), strict=True)
    if path.suffix == ".csv":
        lines = [HEADER]
        lines += [f"{i},{c},{r},{v}" for i, (c, r, v) in enumerate(links)]
    elif path.suffix in (".tsv", ".txt"):
        lines = [f"{c}\t{r}\t{v}" for c, r, v in links]
    else:
        raise ValueError(f"expected a path that ends in .csv, .tsv or .txt, found {path}")
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _numbers(
    text: str, separator: str, path: Path, *, skipped: int, columns: tuple[int, ...]
) -> np.ndarray:
    if not text.strip():
        return np.empty((0, columns[-1]))
    try:
        table = np.loadtxt(io.StringIO(text), delimiter=separator, ndmin=2, comments=None)
    except ValueError:
        table = None
    if table is not None and table.shape[1] in columns:
        return table
    for number, line in enumerate(text.splitlines(), start=skipped + 1):
        fields = line.split(separator)
        try:
            parsed = [float(field) for field in fields]
        except ValueError:
            parsed = []
        if len(parsed) not in columns:
            raise EdgeListError(
                f"expected {' or '.join(map(str, columns))} numbers separated by {separator!r}, "
                f"found {_shown(line)} in line {number} of {path}"
            )
    raise EdgeListError(f"expected every line of {path} to have as many numbers as the first")


def _shown(line: str) -> str:
    return repr(line if len(line) <= 80 else line[:80] + "...")
