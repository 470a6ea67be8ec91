"""Edge-list files: ``Id,Source,Target,Weight`` with that header, or tab-separated without one.

Source is a column of the weight, target a row.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseWeight

HEADER = "Id,Source,Target,Weight"


class EdgeListError(ValueError):
    """A file that is not the edge list it should be; the message names the line."""


def read_edge_list(
    path: str | Path, *, shape: tuple[int, int] | None = None, dtype: torch.dtype | None = None
) -> SparseWeight:
    """Reads a weight from a file; the first line tells which of the two formats it has.

    Args:
        path: of the file. Tab-separated lines are ``source target`` or ``source target weight``;
            without the third, all weights are 1.
        shape: ``(out_features, in_features)``; by default square, just large enough.
        dtype: of the values; torch's default dtype by default.

    Raises:
        EdgeListError: a line that is short, not a number, negative, not finite, or a link that is
            given twice; or an empty file.
        OSError: the file cannot be read.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    if not first.strip():
        raise EdgeListError(f"expected an edge list in {path}, found it empty")
    if first.strip() == HEADER:
        table = _numbers(rest, ",", path, skipped=1, columns=(4,))[:, 1:]
    elif "\t" in first:
        table = _numbers(text, "\t", path, skipped=0, columns=(2, 3))
    else:
        raise EdgeListError(
            f"expected {path} to begin with {HEADER!r} or a tab-separated line, found {first!r}"
        )
    skipped = int(first.strip() == HEADER)
    ids = table[:, :2]
    wrong = (ids < 0) | (ids != np.floor(ids)) | (ids > np.iinfo(np.int32).max)
    if wrong.any():
        line = int(wrong.any(1).argmax())
        found = ", ".join(f"{number:g}" for number in ids[line])
        raise EdgeListError(
            f"expected unit numbers that are integers from 0, found {found} "
            f"in line {line + skipped + 1} of {path}"
        )
    sources, targets = ids.astype(np.int64).T
    size = int(ids.max()) + 1 if len(ids) else 0
    values = table[:, 2] if table.shape[1] == 3 else np.ones(len(table))
    if not np.isfinite(values).all():
        line = int((~np.isfinite(values)).argmax())
        raise EdgeListError(
            f"expected finite weights, found {values[line]} in line {line + skipped + 1} of {path}"
        )
    try:
        return SparseWeight.from_coo(
            torch.from_numpy(targets.copy()),
            torch.from_numpy(sources.copy()),
            torch.from_numpy(values.copy()).to(dtype or torch.get_default_dtype()),
            shape or (size, size),
        )
    except ValueError as error:
        raise EdgeListError(f"in {path}: {error}") from error


def write_edge_list(weight: SparseWeight, path: str | Path) -> None:
    """Writes a weight atomically: a ``.csv`` with the header, ``.tsv``/``.txt`` tab-separated.

    Values are written with as many digits as bring back the same bits.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    rows, cols = weight.rows().tolist(), weight.col_indices.tolist()
    numbers = weight.values.detach().cpu().numpy()
    links = zip(cols, rows, map(str, numbers), strict=True)
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
    """The lines as float64 ``[lines, columns]``."""
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
                f"found {line!r} in line {number} of {path}"
            )
    raise EdgeListError(f"expected every line of {path} to have as many numbers as the first")
