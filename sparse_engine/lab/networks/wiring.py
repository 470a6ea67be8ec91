"""Recurrent wirings by name: random networks whose structure is given."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from sparse_engine import convert
from sparse_engine.nn import SparseWeight
from sparse_engine.nn.recurrent import recurrent_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Proposals at each temperature, with which the pooled balance of 100 units comes within 0.01 of a
#: target from 0.1 to 0.9.
PROPOSALS = 100


def balanced(units: int, density: float, seed: int, *, balance: float = 0.5) -> csr_array:
    """Return signs of a network whose pooled structural balance is near ``balance``."""
    from sparse_engine.analysis import Cooling, Pooled, anneal, signed_network

    return anneal(
        signed_network(units, density, seed=seed),
        target=balance,
        seed=seed,
        cooling=Cooling(proposals=PROPOSALS),
        objective=Pooled(),
    ).graph


def planted(units: int, density: float, seed: int, *, loops: int = 15) -> csr_array:
    """Return signs of a network with feed-forward loops whose links are in no other loop."""
    from sparse_engine.analysis import planted_network

    return planted_network(units, density, loops=loops, seed=seed).graph


#: Functions that make the signs of a wiring, by name.
WIRINGS: dict[str, Callable[..., csr_array]] = {"balanced": balanced, "planted": planted}


def wire_network(
    network: nn.Module,
    name: str,
    options: Mapping[str, int | float | bool],
    *,
    density: float,
    gain: float = 1.0,
    generator: torch.Generator,
) -> None:
    """Give every recurrent weight of a network, which has to be square, a wiring by name.

    Magnitudes are drawn from U(0, bound); the option ``bound`` is ``gain / sqrt(density * units)``
    by default. The option ``radius`` is a spectral radius to which the weight is scaled.
    """
    make = WIRINGS[name]
    options = dict(options)
    bound, radius = options.pop("bound", None), options.pop("radius", None)
    known = inspect.signature(make).parameters
    if wrong := options.keys() - (known.keys() - {"units", "density", "seed"}):
        raise ValueError(f"expected options of the wiring {name}, found {', '.join(sorted(wrong))}")
    recurrent = recurrent_weights(network)
    for weight in network.modules():
        if not isinstance(weight, SparseWeight) or weight not in recurrent:
            continue
        rows, units = weight.shape
        if rows != units or len(weight.link_parameters) > 1:
            raise ValueError(
                f"expected a cell with square recurrent weights of one value for each link, such "
                f"as rnn, for the wiring {name}, found {weight}"
            )
        seed = int(torch.randint(2**62, (), generator=generator))
        graph = make(units, density, seed, **options)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 2])))
        largest = gain / math.sqrt(density * units) if bound is None else bound
        graph.data *= rng.uniform(0, largest, graph.nnz)
        if radius is not None:
            graph *= radius / _radius(graph)
        drawn = convert.from_scipy(graph)
        weight.set_pattern(drawn.pattern, drawn.values.detach().to(weight.dtype))


def _radius(graph: csr_array) -> float:
    from sparse_engine.analysis import spectral_radius

    found = spectral_radius(graph)
    if found == 0:
        raise ValueError("expected a network with cycles to scale to a radius, found none")
    return found
