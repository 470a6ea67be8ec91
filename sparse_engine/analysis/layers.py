"""Layers of a network as sets of inputs, to compare networks by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csr_array
from torch import nn

from sparse_engine.analysis.graph import MATRIX, WeightLike, as_matrix
from sparse_engine.nn import Recurrent, SparseWeight


@dataclass(frozen=True)
class RecurrentLayer:
    """Layer whose units are inputs of each other.

    Attributes:
        weight: the recurrent weight ``[gates * units, units]``.
        inputs: the input weight ``[gates * units, inputs]``, or None where it is dense.

    Example:
        >>> layer = RecurrentLayer(SparseRNN(2, 16, density=0.3).weight_hh_l0)
    """

    weight: WeightLike
    inputs: WeightLike | None = None


LayerLike: TypeAlias = WeightLike | RecurrentLayer

#: A network: its layers in order, a module with sparse weights, or weights by their names.
NetworkLike: TypeAlias = nn.Module | Mapping[str, WeightLike] | Iterable[LayerLike]


@dataclass(frozen=True)
class Layer:
    """Set of the inputs of each unit: of its sources, or of pairs of gate and source.

    Attributes:
        sources: ``[units, gates * inputs]``, links from the layer before.
        own: ``[units, gates * units]``, links from the layer itself, or None.
        gates: number of gates of each unit, at which a source may be linked to it.
    """

    sources: csr_array
    own: csr_array | None = None
    gates: int = 1

    @property
    def units(self) -> int:
        """The number of units."""
        return self.sources.shape[0]

    @property
    def inputs(self) -> int:
        """The number of units of the layer before, and of constant inputs."""
        return self.sources.shape[1] // self.gates


def layers_of(network: NetworkLike) -> list[Layer]:
    """Return the layers of a network in order.

    Those of a module are its sparse weights in the order of ``model.modules()``. The recurrent
    weight and the input weight of a recurrent network's layer are one :class:`RecurrentLayer`.

    A mapping from names to weights, such as :func:`sparse_engine.lab.train.read_weights` returns,
    has the names of a state dict: ``weight_hh_l0`` and ``weight_ih_l0`` are one layer, and so on.

    Raises:
        TypeError: not a network.
        ValueError: a weight that is not valid, a module without sparse weights, or a recurrent
            network with several recurrent weights in a layer.
    """
    layers: list[LayerLike]
    if isinstance(network, nn.Module):
        layers = _layers_of_module(network)
        if not layers:
            raise ValueError("expected a model with sparse weights, found none in it")
    elif isinstance(network, Mapping):
        layers = [*_layers_of_names(network)]
    elif isinstance(network, Iterable) and not isinstance(network, torch.Tensor | str):
        layers = [*network]
    else:
        raise TypeError(
            "expected a module, a list of layers or a mapping of weights as a network, found "
            f"{type(network).__name__}"
        )
    return [_layer(layer) for layer in layers]


def _layers_of_module(model: nn.Module) -> list[LayerLike]:
    layers: dict[SparseWeight, LayerLike] = {
        module: module for module in model.modules() if isinstance(module, SparseWeight)
    }
    for cell in [module for module in model.modules() if isinstance(module, Recurrent)]:
        for layer, _ in cell.layers():
            weights, inputs = cell.recurrent_weights(layer), cell.input_weight(layer)
            if len(weights) > 1:
                raise ValueError(
                    f"expected at most one recurrent weight in a layer, found {len(weights)} of "
                    f"{type(cell).__name__}; compare single weights"
                )
            for weight in weights:
                layers[weight] = RecurrentLayer(weight, inputs)
                if inputs is not None:
                    layers.pop(inputs, None)
    return [*layers.values()]


def _layers_of_names(weights: Mapping[str, WeightLike]) -> Iterator[LayerLike]:
    pairs = {}
    for name in weights:  # those of a state dict: weight_hh_l0 and weight_ih_l0 of one network
        network, dot, own = name.rpartition(".")
        if own.startswith("weight_hh_"):
            pairs[name] = network + dot + own.replace("hh", "ih", 1)
    for name, weight in weights.items():
        if name in pairs:
            yield RecurrentLayer(weight, weights.get(pairs[name]))
        elif name not in pairs.values():
            yield weight


def _layer(layer: LayerLike) -> Layer:
    if not isinstance(layer, RecurrentLayer):
        return Layer(_pattern(layer))
    own = _pattern(layer.weight)
    rows, units = own.shape
    gates = rows // units if units else 1
    if gates * units != rows or not gates:
        raise ValueError(
            f"expected a recurrent weight with as many rows per gate as columns, found {rows} x "
            f"{units}"
        )
    none = csr_array((rows, 0), dtype=bool)
    sources = none if layer.inputs is None else _pattern(layer.inputs)
    if sources.shape[0] != rows:
        raise ValueError(f"expected {rows} rows of the inputs' weight, found {sources.shape[0]}")
    return Layer(_by_unit(sources, gates), _by_unit(own, gates), gates)


def _by_unit(w: csr_array, gates: int) -> csr_array:
    """Return ``[units, gates * inputs]`` for ``[gates * units, inputs]``."""
    units = w.shape[0] // gates
    return scipy.sparse.hstack([w[g * units : (g + 1) * units] for g in range(gates)], "csr")


def _pattern(w: WeightLike) -> csr_array:
    if isinstance(w, SparseWeight):  # its values may be of a dtype that NumPy does not know
        shape, ptr, idx = w.shape, w.crow_indices.cpu().numpy(), w.col_indices.cpu().numpy()
    else:
        csr = as_matrix(w, f"{MATRIX} or a RecurrentLayer of them")
        shape, ptr, idx = csr.shape, csr.indptr, csr.indices
    return csr_array((np.ones(len(idx), bool), idx.copy(), ptr.copy()), shape)
