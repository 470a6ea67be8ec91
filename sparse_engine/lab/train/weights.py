"""Sparse weights from files of any kind, for analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.sparse import csr_array
from torch import Tensor

from sparse_engine import convert
from sparse_engine.analysis.graph import GraphFormat, read_graph
from sparse_engine.files import plausible_units
from sparse_engine.lab.train.checkpoint import Checkpoint
from sparse_engine.machine import memory_error_names
from sparse_engine.nn import GroupedWeight, SparseWeight
from sparse_engine.ops import Pattern
from sparse_engine.ops.pattern import integers

#: Suffixes of files of torch.save.
PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def read_weights(
    path: str | Path, *, format: GraphFormat | None = None, nodes: int | None = None
) -> dict[str, SparseWeight | csr_array]:
    """Return the sparse weights in a file or a run folder by name; a single weight is called "".

    Args:
        path: path of a run folder, a ``.safetensors``, ``.pt``, ``.pth``, ``.bin`` or ``.ckpt``
            file of a state dict, an ``.npz`` file of SciPy, or an edge list. No code of a pickle is
            run. A state dict does not tell how many columns a weight has. The
            weight is taken as square, unless its last column with a link is in the first half, as
            for the gates of a SparseLSTM or SparseGRU, or beyond the number of rows.
        format: meaning of an edge list's third column, "edges" for weights or "fanmod" for FANMOD's
            colours; required where the column has only 1 and 2.
        nodes: number of nodes of an edge list; by default one more than its largest number.

    Raises:
        ValueError: a file that is damaged, or has no sparse weights of float32 or float64.
        MemoryError: there is not enough memory for a weight.
    """
    path = Path(path)
    if not path.is_dir() and path.suffix not in (".safetensors", ".npz", *PICKLES):
        return {"": read_graph(path, format=format, nodes=nodes)}
    if format is not None or nodes is not None:
        raise ValueError(f"expected a format or number of nodes for edge lists only, found {path}")
    if path.is_dir():
        if not (path / "checkpoint.json").exists():
            raise ValueError(f"expected the folder of a run, found no checkpoint in {path}")
        return _weights_of(Checkpoint.load(path).model, path)
    if path.suffix == ".safetensors":
        try:
            return _weights_of(load_file(path), path)
        except SafetensorError as error:
            raise ValueError(f"expected safetensors in {path}, found: {error}") from error
    if path.suffix in PICKLES:
        return _weights_of(_load_pickle(path), path)
    return {"": convert.read_npz(path)}


def _load_pickle(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged or foreign pickle leads to
        raise ValueError(
            f"expected a state dict in {path}, as torch.save(model.state_dict(), path) writes it, "
            "found none that torch.load(path, weights_only=True) reads"
        ) from error
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a state dict in {path}, found {type(state).__name__}")
    return {str(name): entry for name, entry in state.items() if isinstance(entry, Tensor)}


def _weights_of(state: Mapping[str, Tensor], path: Path) -> dict[str, SparseWeight | csr_array]:
    names = [name.removesuffix("crow_indices") for name in state if name.endswith("crow_indices")]
    if not names:
        raise ValueError(f"expected sparse weights in {path}, found none among {[*state]}")
    weights: dict[str, SparseWeight | csr_array] = {}
    for name in names:
        shown = name.removeprefix("model.").removesuffix(".")
        try:
            with memory_error_names(f"the weight {shown!r} of {path}"):
                weights[shown] = _weight(_Entries(state, name))
        except ValueError as error:
            raise ValueError(f"in {path}, weight {shown!r}: {error}") from error
    return weights


class _Entries:
    """Entries of one weight in a state dict."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str) -> None:
        self.state, self.prefix = state, prefix

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.state

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            raise ValueError(f"expected an entry {name}, found none")
        entry = self.state[self.prefix + name]
        if entry.dim() != 1:
            raise ValueError(f"expected {name} of one dimension, found shape {[*entry.shape]}")
        return entry

    def floats(self, name: str) -> Tensor:
        entry = self[name]
        if entry.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"expected {name} of float32 or float64, found {entry.dtype}")
        return entry


def _weight(entries: _Entries) -> SparseWeight:
    crow, col = entries["crow_indices"], integers(entries["col_indices"], "col_indices")
    rows, used = len(crow) - 1, int(col.max()) + 1 if len(col) else 0
    most = max(rows, plausible_units(len(col)))
    if rows < 0 or used > most:
        raise ValueError(
            f"expected pointers of at least one row and columns below {most:,} with {len(col):,} "
            f"links, found {rows + 1} pointers and column {used - 1}"
        )
    columns = rows if not len(col) or rows < 2 * used <= 2 * rows else used
    if "values" in entries:
        return SparseWeight.from_csr(crow, col, entries.floats("values"), (rows, columns))
    return GroupedWeight(
        entries.floats("base"),
        Pattern.from_csr(crow, col, (rows, columns)),
        entries["group"],
        gain=entries.floats("gain"),
    )
