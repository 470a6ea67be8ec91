"""Mackey-Glass benchmark of NeuroBench: error of networks that continue the series, and cost."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.tasks import MackeyGlassContinuation
from sparse_engine.lab.train import StoredRun
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseMGU, SparseRNN, SparseWeight

#: Networks that multiply each of their weights once in a time step.
ONCE = (SparseRNN, SparseLSTM, SparseGRU, SparseMGU)


def footprint(model: nn.Module) -> int:
    """Return the bytes of a model's ``state_dict``: parameters and the indices of links.

    The transposed view of a sparse weight, which only training needs, is not counted.
    """
    once = {each.data_ptr(): each for each in model.state_dict().values() if each.numel()}
    return sum(each.numel() * each.element_size() for each in once.values())


def connection_sparsity(model: nn.Module) -> float:
    """Return the fraction of a model's weights, without biases and embeddings, that are 0."""
    positions = sum(each.positions for each in weights(model))
    if not positions:
        raise ValueError(f"expected a model with weights, found {type(model).__name__}")
    return 1 - sum(int(each.by_source.sum()) for each in weights(model)) / positions


class Weight(NamedTuple):
    """Positions of a weight, and how many are not 0 in each column, int64 ``[in_features]``."""

    positions: int
    by_source: Tensor


def weights(model: nn.Module) -> list[Weight]:
    """Return all weights of a model, sparse and dense, without embeddings."""
    sparse = [each for each in model.modules() if isinstance(each, SparseWeight)]
    tables = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    dense = [each for each in model.parameters() if each.dim() == 2 and id(each) not in tables]
    return [*map(count, sparse), *map(count, dense)]


@torch.no_grad()
def count(weight: SparseWeight | Tensor) -> Weight:
    """Count the positions of a weight, and the entries of each column that are not 0."""
    rows, columns = weight.shape
    if isinstance(weight, SparseWeight):
        there = weight.col_indices[weight.values != 0]
        return Weight(rows * columns, torch.bincount(there, minlength=columns))
    return Weight(rows * columns, (weight != 0).sum(0))


class Operations(NamedTuple):
    """Multiply-accumulates in a time step of one sequence.

    Effective ones are of weights that are not 0 with inputs that are not 0.
    """

    effective: float
    dense: float


@torch.no_grad()
def synaptic_operations(model: nn.Module, *inputs: Any) -> Operations:
    """Count the synaptic operations of a forward pass, for each time step and sequence.

    Layers that count are :class:`torch.nn.Linear`, :class:`SparseLinear`, and :class:`SparseRNN`,
    :class:`SparseLSTM`, :class:`SparseGRU` and :class:`SparseMGU` of one layer and one direction,
    whose states are counted as the inputs of the next step. Biases, embeddings and products of
    single units are not counted.

    Args:
        model: the model, in which each of these layers is called once.
        *inputs: arguments of the forward pass, the first with time and batch as its first two
            dimensions.

    Raises:
        ValueError: a recurrent network of several layers or directions, or of another cell.
    """
    totals = [0.0, 0.0]

    def add(weight: SparseWeight | Tensor, x: Tensor) -> None:
        counted = count(weight)
        rows = x.flatten(0, -2)
        totals[0] += float(((rows != 0).sum(0) * counted.by_source).sum())
        totals[1] += counted.positions * len(rows)

    def observe(layer: Any, given: tuple[Any, ...], output: Any) -> None:
        if isinstance(layer, nn.Linear | SparseLinear):
            add(layer.weight, given[0])
            return
        states = output[0].transpose(0, 1) if layer.batch_first else output[0]
        first = given[1] if len(given) > 1 and given[1] is not None else torch.zeros_like(states[0])
        first = first[0] if isinstance(first, tuple) else first
        add(layer.weight_ih_l0, given[0])
        add(layer.weight_hh_l0, torch.cat([first.reshape(states[:1].shape), states[:-1]]))

    layers = [each for each in model.modules() if counts(each)]
    handles = [layer.register_forward_hook(observe) for layer in layers]
    try:
        model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    steps = inputs[0].shape[0] * inputs[0].shape[1]
    return Operations(totals[0] / steps, totals[1] / steps)


def counts(layer: nn.Module) -> bool:
    """Return whether :func:`synaptic_operations` counts a layer's products, or refuse it."""
    if isinstance(layer, nn.Linear | SparseLinear):
        return True
    if not hasattr(layer, "weight_hh_l0"):
        return False
    if not isinstance(layer, ONCE) or layer.num_layers > 1 or layer.bidirectional:
        raise ValueError(
            f"expected a network of one layer and direction among "
            f"{', '.join(each.__name__ for each in ONCE)}, found {layer}"
        )
    return True


SMAPE = Quantity.best("test", "smape", False)
#: Errors of the dense LSTM and of the echo state network of the publication.
LSTM, ESN = 13.37, 14.79


def operations(run: StoredRun) -> Operations:
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
