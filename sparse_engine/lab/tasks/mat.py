"""Reader of MATLAB files with features X and classes Y, as feature selection publishes data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse_engine.extras import extra
from sparse_engine.lab.tasks.supervised import Examples

with extra("train"):
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

#: What SciPy raises for a file that is damaged.
DAMAGED = (
    MatReadError, ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, EOFError,
    OSError, NotImplementedError, AttributeError, zlib.error, struct.error,
)  # fmt: skip


def read_mat(path: Path, examples: int, features: int, classes: int) -> Examples:
    """Read features ``[examples, features]`` and classes from a MATLAB file, version 4 or 5.

    Args:
        path: the file, with a matrix X of features and a matrix Y of classes from 1 on.
        examples: number of rows of X and Y.
        features: number of columns of X.
        classes: number of classes.

    Returns:
        The features, of torch's default dtype, and the classes from 0 on.

    Raises:
        ValueError: a file that is damaged, or that has other matrices, features that are not
            finite, or classes out of range.
    """
    shapes = {"X": (examples, features), "Y": (examples, 1)}
    try:
        # The headers say how much memory the matrices take, before they are read.
        found = {name: tuple(shape) for name, shape, _ in whosmat(path)}
        if any(found.get(name) != shape for name, shape in shapes.items()):
            raise ValueError(f"expected matrices of shapes {shapes}, found {found}")
        matrices = loadmat(path, variable_names=[*shapes])
        x, y = (_numbers(matrices, name, shape) for name, shape in shapes.items())
    except DAMAGED as error:
        raise ValueError(f"expected a whole MATLAB file, found {path}: {error}") from error
    y = y[:, 0] - 1
    wrong = (y < 0) | (y >= classes) | (y != np.floor(y))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"expected classes of 1 to {classes}, found {y[at] + 1:g} at position {at} in {path}"
        )
    inputs = torch.from_numpy(x).to(torch.get_default_dtype())
    return Examples(inputs, torch.from_numpy(y.astype(np.int64)))


def _numbers(matrices: Mapping[str, Any], name: str, shape: tuple[int, int]) -> np.ndarray:
    matrix = matrices[name]
    if (
        not isinstance(matrix, np.ndarray)
        or matrix.shape != shape
        or matrix.dtype.kind not in "fiu"
    ):
        raise ValueError(f"expected {name} as a matrix of real numbers of shape {shape}")
    numbers = matrix.astype(np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"expected finite {name}, found {numbers[row, column]} at {row}, {column}")
    return numbers
