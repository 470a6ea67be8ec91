"""Structural balance of the recurrent weight at the end of a run."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from scipy.sparse import csr_array

from sparse_engine import analysis
from sparse_engine.analysis.null_model import NullModel
from sparse_engine.lab.experiments.training import Quantity, number
from sparse_engine.lab.train import Checkpoint, StoredRun

#: Random graphs with permuted signs that each weight is compared with.
SHUFFLES = 300


def recurrent_weight(folder: Path) -> csr_array:
    """Return the recurrent weight of the only layer of a run's folder, without links of value 0."""
    state = Checkpoint.load(folder).model
    prefixes = [name.removesuffix("crow_indices") for name in state if "weight_hh" in name]
    names = sorted({name for name in prefixes if name.endswith(".") and name + "values" in state})
    if len(names) != 1:
        raise ValueError(f"expected one recurrent weight in {folder}, found {names}")
    values, columns, pointers = (
        state[names[0] + entry].numpy() for entry in ("values", "col_indices", "crow_indices")
    )
    units = len(pointers) - 1
    matrix = csr_array((values, columns, pointers), shape=(units, units))
    matrix.eliminate_zeros()
    return matrix


def balance_quantities() -> list[Quantity]:
    """Return class mean and pooled balance with their z-scores against permuted signs."""
    return [
        Quantity(name, partial(_entry, entry=entry, kind=kind))
        for kind in ("class_mean", "pooled")
        for name, entry in (
            (f"balance, {kind.replace('_', ' ')}", "observed"),
            (f"z of balance, {kind.replace('_', ' ')}", "z"),
        )
    ]


def _entry(run: StoredRun, entry: str, kind: str) -> float:
    return number(_null_model(run.folder, run.config.seed).to_dict()[kind][entry])


@cache
def _null_model(folder: Path, seed: int) -> NullModel:
    weight = recurrent_weight(folder)
    return analysis.null_model(weight, kind=analysis.SignShuffle(), n=SHUFFLES, seed=seed)
