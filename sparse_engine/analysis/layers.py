"""The layers of a network as sets of inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csr_array
from torch import nn

from sparse_engine import convert
from sparse_engine.convert.scipy import as_canonical
from sparse_engine.nn import SparseWeight

#: A weight of which ``W[i, j]`` is the link from input j to unit i; a stored zero is a link.
WeightLike = SparseWeight | scipy.sparse.sparray | scipy.sparse.spmatrix | torch.Tensor


@dataclass(frozen=True)
class RecurrentLayer:
    """A layer of units that are inputs of each other.

    Attributes:
        weight: ``[gates * units, units]``, as ``weight_hh``.
        inputs: ``[gates * units, inputs]``, as ``weight_ih``; None where it is dense, so that it
            says nothing of the wiring.
    """

    weight: WeightLike
    inputs: WeightLike | None = None


LayerLike = WeightLike | RecurrentLayer

#: A network: its layers in order, sparse weights by their names, or a module that has some.
NetworkLike = nn.Module | Mapping[str, WeightLike] | Iterable[LayerLike]


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
    its ``weight_ih`` are one :class:`RecurrentLayer`. So are those of a mapping from names to
    weights, such as :func:`sparse_engine.train.read_weights` returns.

    Raises:
        TypeError: not a network.
        ValueError: a weight that is not valid, or a module without sparse weights.
    """
    if isinstance(network, nn.Module):
        modules = network.named_modules()
        network = {name: each for name, each in modules if isinstance(each, SparseWeight)}
        if not network:
            raise ValueError("expected a model with sparse weights, found none in it")
    if isinstance(network, Mapping):
        layers = [*_layers_of_names(network)]
    elif isinstance(network, Iterable) and not isinstance(network, torch.Tensor | str):
        layers = [*network]
    else:
        raise TypeError(
            "expected a module, a list of layers or a mapping of weights as a network, found "
            f"{type(network).__name__}"
        )
    return [_layer(layer) for layer in layers]


def _layers_of_names(weights: Mapping[str, WeightLike]) -> Iterator[LayerLike]:
    for name, weight in weights.items():
        module, dot, own = name.rpartition(".")
        if own.startswith("weight_hh"):
            yield RecurrentLayer(weight, weights.get(module + dot + own.replace("hh", "ih", 1)))
        elif not own.startswith("weight_ih") or (
            module + dot + own.replace("ih", "hh", 1) not in weights
        ):
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
    """``[gates * units, inputs]`` to ``[units, gates * inputs]``."""
    units = w.shape[0] // gates
    return scipy.sparse.hstack([w[g * units : (g + 1) * units] for g in range(gates)], "csr")


def _pattern(w: WeightLike) -> csr_array:
    if isinstance(w, torch.Tensor):
        w = convert.from_torch(w)
    if isinstance(w, SparseWeight):
        shape, ptr, idx = w.shape, w.crow_indices.cpu().numpy(), w.col_indices.cpu().numpy()
    elif scipy.sparse.issparse(w):
        csr = as_canonical(w)
        shape, ptr, idx = csr.shape, csr.indptr, csr.indices
    else:
        raise TypeError(
            "expected a SparseWeight, a SciPy or torch sparse matrix or a RecurrentLayer of them, "
            f"found {type(w).__name__}"
        )
    return csr_array((np.ones(len(idx), bool), idx.copy(), ptr.copy()), shape)
