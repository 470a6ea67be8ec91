"""The layers of a network as sets of inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csr_array
from torch import nn

from sparse_engine import convert
from sparse_engine.nn import SparseWeight

#: A weight of which ``W[i, j]`` is the link from input j to unit i; a stored zero is a link.
WeightLike = SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor


@dataclass(frozen=True)
class Recurrent:
    """A layer of units that are inputs of each other.

    Attributes:
        weight: ``[gates * units, units]``, as ``weight_hh``.
        inputs: ``[gates * units, inputs]``, as ``weight_ih``; None where it is dense, so that it
            says nothing of the wiring.
    """

    weight: WeightLike
    inputs: WeightLike | None = None


LayerLike = WeightLike | Recurrent

#: A network: its layers in order, or a module with sparse weights.
NetworkLike = nn.Module | Iterable[LayerLike]


@dataclass(frozen=True)
class Layer:
    """The inputs of each unit: a member of a set is a source, and with gates a gate and a source.

    Attributes:
        sources: ``[units, gates * inputs]``, from the layer before.
        own: ``[units, gates * units]``, from the layer itself, or None.
        gates: links of a unit may go to so many places.
    """

    sources: csr_array
    own: csr_array | None = None
    gates: int = 1

    @property
    def units(self) -> int:
        """How many there are."""
        return self.sources.shape[0]

    @property
    def inputs(self) -> int:
        """How many each gate could have from the layer before."""
        return self.sources.shape[1] // self.gates


def layers_of(network: NetworkLike) -> list[Layer]:
    """The layers of a network.

    A module's are its sparse weights in the order of ``model.modules()``, where a ``weight_hh`` and
    its ``weight_ih`` are one :class:`Recurrent` layer.

    Raises:
        TypeError: not a network.
        ValueError: a weight that is not valid, or a module without sparse weights.
    """
    if isinstance(network, nn.Module):
        layers = [*_layers_of_module(network)]
        if not layers:
            raise ValueError("expected a model with sparse weights, found none in it")
    elif isinstance(network, Iterable) and not isinstance(network, torch.Tensor | str):
        layers = [*network]
    else:
        raise TypeError(
            f"expected a module or a list of layers as a network, found {type(network).__name__}"
        )
    return [_layer(layer) for layer in layers]


def _layers_of_module(model: nn.Module) -> Iterator[LayerLike]:
    if isinstance(model, SparseWeight):
        yield model
        return
    for module in model.modules():
        weights = {k: w for k, w in module.named_children() if isinstance(w, SparseWeight)}
        for name, weight in weights.items():
            if name.startswith("weight_hh"):
                yield Recurrent(weight, weights.get(name.replace("hh", "ih", 1)))
            elif name.replace("ih", "hh", 1) not in weights or not name.startswith("weight_ih"):
                yield weight


def _layer(layer: LayerLike) -> Layer:
    if not isinstance(layer, Recurrent):
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
    """``[gates * units, inputs]`` to ``[units, gates * inputs]``."""
    units = w.shape[0] // gates
    return scipy.sparse.hstack([w[g * units : (g + 1) * units] for g in range(gates)], "csr")


def _pattern(w: WeightLike) -> csr_array:
    if isinstance(w, torch.Tensor):
        w = convert.from_torch(w)
    elif scipy.sparse.issparse(w):
        w = convert.from_scipy(w)
    elif not isinstance(w, SparseWeight):
        raise TypeError(
            "expected a SparseWeight, a SciPy or torch sparse matrix or a Recurrent of them, "
            f"found {type(w).__name__}"
        )
    csr = convert.to_scipy(w)
    return csr_array((np.ones(csr.nnz, bool), csr.indices, csr.indptr), csr.shape)
