"""Descriptions of networks without recurrence: perceptrons and Boltzmann machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from sparse_engine.lab.networks.limits import check_links
from sparse_engine.lab.networks.recurrent import Network
from sparse_engine.models import SparseMLP, SparseRBM
from sparse_engine.models.feed_forward import layer_links
from sparse_engine.models.mlp import Activation
from sparse_engine.nn import AllReLU, SReLU
from sparse_engine.topology import ERKDensity

#: Activations by their names in a description, as functions of the slope and the generator.
ACTIVATIONS: dict[str, Callable[[float, torch.Generator], Activation]] = {
    "all_relu": lambda slope, generator: lambda units, layer: AllReLU(slope, layer),
    "relu": lambda slope, generator: lambda units, layer: nn.ReLU(),
    "srelu": lambda slope, generator: lambda units, layer: SReLU(units, generator=generator),
}


@dataclass(frozen=True)
class MLPNetwork(Network):
    """Description of a multilayer perceptron."""

    hidden: tuple[int, ...] = (1000, 1000, 1000)
    """Units of each hidden layer."""
    allocation: Literal["set", "equal"] = "set"
    """Links of each layer: in proportion to its inputs and outputs, as in SET, so that small layers
    are denser; or of equal density."""
    dense_output: bool = False
    """Whether the output layer is dense; the density is then that of the others."""
    activation: Literal[tuple(ACTIVATIONS)] = "relu"  # type: ignore[valid-type]
    """Activation of hidden units."""
    slope: float = 0.6
    """Slope of the left side of all_relu."""
    dropout: float = 0.0
    """Dropout of hidden activations, in [0, 1)."""
    initial_std: float | None = None
    """Standard deviation of normal initial weights, 0.1 in SET; by default weights are uniform,
    with a variance of 2 / links into the unit (He)."""

    def __post_init__(self) -> None:
        # JSON has lists only, and one layer may be given as its number of units.
        hidden = (self.hidden,) if isinstance(self.hidden, int) else tuple(self.hidden)
        object.__setattr__(self, "hidden", hidden)

    def densities(self, inputs: int, outputs: int) -> list[float]:
        """Return the density of each layer of a network with inputs and outputs."""
        shapes = [(out, into) for into, out in pairwise([inputs, *self.hidden, outputs])]
        sparse = shapes[: len(shapes) - self.dense_output]
        if self.allocation == "equal":
            densities = [self.density] * len(sparse)
        else:
            counts = ERKDensity(self.density).counts(sparse)
            densities = [
                count / max(1, out * into)
                for count, (out, into) in zip(counts, sparse, strict=True)
            ]
        return densities + [1.0] * self.dense_output

    def mlp(self, inputs: int, outputs: int, *, generator: torch.Generator) -> SparseMLP:
        """Make the network."""
        sizes, densities = [inputs, *self.hidden, outputs], self.densities(inputs, outputs)
        check_links(sum(layer_links(sizes, densities, None)), sum(sizes))
        return SparseMLP(
            sizes,
            density=densities,
            activation=ACTIVATIONS[self.activation](self.slope, generator),
            dropout=self.dropout,
            initial_std=self.initial_std,
            generator=generator,
        )


@dataclass(frozen=True)
class RBMNetwork(Network):
    """Description of a restricted Boltzmann machine."""

    hidden: int = 200
    """Hidden units."""
    initial_std: float = 0.05
    """Standard deviation of the normal initial weights."""

    def rbm(self, visible: int, *, generator: torch.Generator) -> SparseRBM:
        """Make the machine."""
        sizes = [visible, self.hidden]
        check_links(sum(layer_links(sizes, self.density, None)), sum(sizes))
        return SparseRBM(
            visible,
            self.hidden,
            density=self.density,
            initial_std=self.initial_std,
            generator=generator,
        )
