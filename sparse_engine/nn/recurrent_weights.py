"""Recurrent weights of a model, and the names of their input weights."""

from __future__ import annotations

from torch import nn

from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.weight import SparseWeight


def input_name(name: str) -> str | None:
    """Return the name of the input weight beside a recurrent weight, None for any other weight.

    This is for state dicts, which have the names of weights but no cells: ``weight_hh_l0`` and
    ``weight_ih_l0``, with the name of the network before them.
    """
    network, dot, own = name.rpartition(".")
    if not own.startswith("weight_hh_"):
        return None
    return network + dot + own.replace("hh", "ih", 1)


def recurrent_weights(model: nn.Module) -> set[SparseWeight]:
    """Return the recurrent weights of all networks in a model."""
    networks = [module for module in model.modules() if isinstance(module, Recurrent)]
    return {
        weight
        for network in networks
        for layer, _ in network.layers()
        for weight in network.recurrent_weights(layer)
    }
