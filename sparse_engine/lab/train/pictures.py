"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from sparse_engine.extras import MissingLibrary
from sparse_engine.lab.train.log import read_metrics
from sparse_engine.nn import SparseWeight


@contextmanager
def drawing() -> Iterator[None]:
    """Draw pictures in this context, or print how to install matplotlib where it is missing."""
    try:
        yield
    except MissingLibrary as error:
        tqdm.write(f"no pictures: {error}")


@drawing()
def draw_pictures(folder: Path, model: nn.Module, *, metric: str, higher_is_better: bool) -> None:
    """Draw curve.png, adjacency.png for a sparse model, and balance.png if balance was tracked.

    Without matplotlib, print how to install it.

    Args:
        folder: the run's folder.
        model: the model at the end.
        metric: name of the metric.
        higher_is_better: whether a greater metric is a better one.
    """
    from sparse_engine.lab import plot

    entries = read_metrics(folder / "metrics.jsonl")
    with plot.picture(folder / "curve.png") as axes:
        plot.learning_curve(entries, axes, metric=metric, higher_is_better=higher_is_better)
    weights = {n: m for n, m in model.named_modules() if isinstance(m, SparseWeight)}
    if weights:
        name, weight = max(weights.items(), key=lambda item: item[1].nnz)
        with plot.picture(folder / "adjacency.png", size=(6.4, 5.4)) as axes:
            plot.adjacency(weight, axes)
            axes.set_title(f"{name}: {weight.nnz:,} links, density {weight.density:.2%}")
    records = read_metrics(folder / "topology.jsonl")
    if any("pooled" in record for record in records):
        with plot.picture(folder / "balance.png") as axes:
            plot.balance(records, axes)
