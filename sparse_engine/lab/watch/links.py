"""Wiring of a run at its last checkpoint: a small picture of each adjacency, and its degrees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sparse_engine.lab.train.checkpoint import TENSOR_FILE
from sparse_engine.lab.watch.folders import is_regular

#: Greatest number of rows and columns of a picture, and of bars of a histogram.
SIDE, BARS = 128, 40
#: Greatest number of links that a picture is made of.
MOST_LINKS = 50_000_000
INDICES = ".col_indices"


def weights(folder: Path) -> list[str]:
    """Return the names of the sparse weights in a run's last checkpoint."""
    path = checkpoint(folder)
    try:
        if path is None:
            return []
        with safe_open(path, "numpy") as file:
            return sorted(each.removesuffix(INDICES) for each in file.keys()  # noqa: SIM118
                          if each.endswith(INDICES))  # fmt: skip
    except (SafetensorError, OSError, ValueError):
        return []


def wiring(folder: Path, name: str) -> dict[str, Any]:
    """Return the picture of a weight's links and its degrees, ready for JSON.

    Returns:
        ``step``, ``rows``, ``columns`` (the greatest column with a link, and 1), ``nnz``; ``grid``,
        a list of rows with the number of links in each field of at most :data:`SIDE` squared;
        ``degrees``, histograms ``in`` and ``out`` as lists of (least, greatest, units).
    """
    path = checkpoint(folder)
    if path is None or name not in weights(folder):
        raise LookupError("expected the name of a weight in the checkpoint, found none")
    try:
        with safe_open(path, "numpy") as file:
            crow, col = (file.get_tensor(f"{name}{end}") for end in (".crow_indices", INDICES))
    except (SafetensorError, OSError) as error:  # replaced by the next one, or damaged
        raise LookupError(f"expected a checkpoint with {name}, found: {error}") from error
    except (TypeError, AttributeError) as error:  # bfloat16, float8: NumPy has no such type
        raise ValueError(f"expected indices of integers in {name}, found: {error}") from error
    _check(crow, col)
    degrees = np.diff(crow)
    rows, columns = len(degrees), int(col.max(initial=-1)) + 1
    sides = min(rows, SIDE), min(columns, SIDE)
    fields = np.repeat(np.arange(rows) * sides[0] // max(1, rows), degrees) * sides[1]
    fields += col.astype(np.int64) * sides[1] // max(1, columns)
    grid = np.bincount(fields, minlength=sides[0] * sides[1]).reshape(sides)
    out = np.unique(col, return_counts=True)[1]
    return {
        "step": int(re.findall(r"\d+", path.name)[0]),
        "rows": rows,
        "columns": columns,
        "nnz": len(col),
        "grid": grid.tolist(),
        "degrees": {"in": _bars(degrees), "out": _bars(out, zeros=columns - len(out))},
    }


def checkpoint(folder: Path) -> Path | None:
    """Return the last file of tensors of a run's checkpoint, or None."""
    try:
        names = [path for path in folder.iterdir() if re.fullmatch(TENSOR_FILE, path.name)]
    except OSError:
        return None
    files = [path for path in names if is_regular(path)]
    return max(files, key=lambda path: int(re.findall(r"\d+", path.name)[0]), default=None)


def _check(crow: np.ndarray, col: np.ndarray) -> None:
    integers = crow.dtype.kind == "i" and col.dtype.kind == "i"
    if not (integers and crow.ndim == col.ndim == 1 and len(crow) and len(col) <= MOST_LINKS):
        raise ValueError(f"expected at most {MOST_LINKS:,} links as two vectors of integers")
    in_order = crow[0] == 0 and crow[-1] == len(col) and (np.diff(crow) >= 0).all()
    if not in_order or col.min(initial=0) < 0 or col.max(initial=0) >= 2**31 - 1:
        raise ValueError("expected increasing row pointers and column indices in [0, 2^31)")


def _bars(degrees: np.ndarray, zeros: int = 0) -> list[tuple[int, int, int]]:
    """Return a histogram of degrees; ``zeros`` further units have a degree of 0."""
    most = int(degrees.max(initial=0))
    width = max(1, -(-(most + 1) // BARS))
    counts = np.bincount(degrees // width, minlength=most // width + 1)
    counts[0] += zeros
    return [(at * width, (at + 1) * width - 1, int(count)) for at, count in enumerate(counts)]
