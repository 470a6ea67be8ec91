"""Mackey-Glass benchmark of NeuroBench: error and cost of networks that continue the series."""

from __future__ import annotations

from typing import Any

from sparse_engine.lab.experiments.cost import (
    Operations,
    connection_sparsity,
    footprint,
    synaptic_operations,
)
from sparse_engine.lab.experiments.training import (
    Finished,
    Quantity,
    TrainingExperiment,
    Variant,
    best_on_validation,
)
from sparse_engine.lab.tasks import MackeyGlassContinuation

SMAPE = best_on_validation("test", "smape", False)
#: Errors of the dense LSTM and of the echo state network of the publication.
LSTM, ESN = 13.37, 14.79


def operations(run: Finished) -> Operations:
    """Return the synaptic operations of a trained network in a step of the series."""
    task = run.config.task
    assert isinstance(task, MackeyGlassContinuation)
    return synaptic_operations(run.model(), task.training[0])


def _variant(name: str, published: float, note: str, **settings: Any) -> Variant:
    values = {SMAPE.name: published}
    return Variant(name, MackeyGlassContinuation.name, settings, values, note=note)


#: Dense and sparse networks that continue the Mackey-Glass series on their own. Each seed is a
#: repetition that begins half a Lyapunov time later. A network is taken at the evaluation at which
#: it continues its training series best.
NEUROBENCH = TrainingExperiment(
    "neurobench-mackey-glass",
    "networks that continue a chaotic series on their own, with their cost",
    "Yik et al., The NeuroBench framework for benchmarking neuromorphic computing algorithms "
    "and systems, Nature Communications 2025",
    [
        _variant("LSTM, SET", LSTM, "published: dense", method="set"),
        _variant("LSTM, dense", LSTM, "", method="static", density=1.0),
        _variant("RNN, SET", ESN, "published: echo state network", method="set", cell="rnn"),
    ],
    [
        SMAPE,
        Quantity("footprint, bytes", lambda run: float(footprint(run.model()))),
        Quantity("connection sparsity", lambda run: connection_sparsity(run.model())),
        Quantity("effective operations in a step", lambda run: operations(run).effective),
        Quantity("dense operations in a step", lambda run: operations(run).dense),
    ],
    numbered=("repeat",),
)
