"""Sparse weights in files of any kind, to be looked at."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import scipy.sparse
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.sparse import csr_array
from torch import Tensor

from sparse_engine import convert
from sparse_engine.nn import SparseWeight
from sparse_engine.train.checkpoint import Checkpoint


def read_weights(path: str | Path) -> dict[str, SparseWeight | csr_array]:
    """The sparse weights in a file or a run folder, by name; a single nameless one is "".

    Args:
        path: of a run folder, a ``.safetensors`` file of a state dict, an ``.npz`` file of SciPy,
            or an edge list. A state dict does not tell how many columns a weight has: it is taken
            to be square, unless the last column used is in the first half, as with the gates of a
            SparseLSTM or SparseGRU, or beyond the number of rows.

    Raises:
        ValueError: not such a file, a damaged one, or one without sparse weights.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "checkpoint.json").exists():
            raise ValueError(f"expected the folder of a run, found no checkpoint in {path}")
        return _weights_of(Checkpoint.load(path).model, path)
    if path.suffix == ".safetensors":
        try:
            return _weights_of(load_file(path), path)
        except SafetensorError as error:
            raise ValueError(f"expected safetensors in {path}, found: {error}") from error
    if path.suffix == ".npz":
        try:
            return {"": csr_array(scipy.sparse.load_npz(path))}
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"expected an npz file of SciPy in {path}, found: {error}") from error
    return {"": convert.read_edge_list(path, dtype=torch.float64)}


def _weights_of(state: Mapping[str, Tensor], path: Path) -> dict[str, SparseWeight | csr_array]:
    names = [name.removesuffix("crow_indices") for name in state if name.endswith("crow_indices")]
    if not names:
        raise ValueError(f"expected sparse weights in {path}, found none among {[*state]}")
    return {name.removeprefix("model.").removesuffix("."): _weight(state, name) for name in names}


def _weight(state: Mapping[str, Tensor], prefix: str) -> SparseWeight:
    crow, col = state[f"{prefix}crow_indices"], state[f"{prefix}col_indices"]
    values = state.get(f"{prefix}values")
    if values is None:  # a GroupedWeight
        values = state[f"{prefix}gain"][state[f"{prefix}group"].long()] * state[f"{prefix}base"]
    rows, used = len(crow) - 1, int(col.max()) + 1 if len(col) else 0
    columns = rows if not len(col) or rows < 2 * used <= 2 * rows else used
    return SparseWeight.from_csr(crow, col, values, (rows, columns))
