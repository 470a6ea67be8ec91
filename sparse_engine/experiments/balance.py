"""Structural balance of the recurrent weight at the end of a run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from scipy.sparse import csr_array

from sparse_engine import analysis, convert
from sparse_engine.analysis import NullModel
from sparse_engine.experiments.training import Finished, Quantity
from sparse_engine.nn import SparseWeight
from sparse_engine.train import read_weights

#: Random graphs with permuted signs that each weight is compared with.
SHUFFLES = 300


def recurrent_weight(folder: Path) -> csr_array:
    """Return the recurrent weight of the only layer of a run's folder, without links of value 0.

    Raises:
        ValueError: the run has several recurrent weights, or none.
    """
    weights = {name: w for name, w in read_weights(folder).items() if "weight_hh" in name}
    if len(weights) != 1:
        raise ValueError(f"expected one recurrent weight in {folder}, found {[*weights]}")
    (weight,) = weights.values()
    matrix = convert.to_scipy(weight) if isinstance(weight, SparseWeight) else weight
    matrix.eliminate_zeros()
    return matrix


def balance_quantities() -> list[Quantity]:
    """Return class mean and pooled balance with their z-scores against permuted signs."""
    return [
        Quantity(name, lambda run, entry=entry, kind=kind: _entry(run, entry, kind))
        for kind in ("class_mean", "pooled")
        for name, entry in (
            (f"balance, {kind.replace('_', ' ')}", "observed"),
            (f"z of balance, {kind.replace('_', ' ')}", "z"),
        )
    ]


def _entry(run: Finished, entry: str, kind: str) -> float:
    value = _null_model(run.folder, run.config.seed).to_dict()[kind][entry]
    return float("nan") if value is None else value


@cache
def _null_model(folder: Path, seed: int) -> NullModel:
    weight = recurrent_weight(folder)
    return analysis.null_model(weight, kind=analysis.SignShuffle(), n=SHUFFLES, seed=seed)
