"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from sparse_engine.errors import MissingLibrary
from sparse_engine.lab.tasks import Task
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
def draw_pictures(folder: Path, model: nn.Module, task: Task) -> None:
    """Draw curve.png, adjacency.png for a sparse model, and balance.png if balance was tracked."""
    from sparse_engine.lab import plot

    with plot.picture(folder / "curve.png") as axes:
        plot.learning_curve(
            read_metrics(folder / "metrics.jsonl"),
            axes,
            metric=task.metric,
            higher_is_better=task.higher_is_better,
        )
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
