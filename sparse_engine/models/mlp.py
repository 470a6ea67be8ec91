"""Multilayer perceptrons with sparse weights, and their description."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from sparse_engine.models.feed_forward import FeedForwardNetwork, check_std, number_of_links
from sparse_engine.nn import AllReLU, SparseLinear, SReLU

#: Function from the number of units and the number of the hidden layer, from 0, to its activation.
Activation = Callable[[int, int], nn.Module]

#: Activations by their names in a description, as functions of the slope and the generator.
ACTIVATIONS: dict[str, Callable[[float, torch.Generator], Activation]] = {
    "all_relu": lambda slope, generator: lambda units, layer: AllReLU(slope, layer),
    "relu": lambda slope, generator: lambda units, layer: nn.ReLU(),
    "srelu": lambda slope, generator: lambda units, layer: SReLU(units, generator=generator),
}

#: Factor of U(-g, g) / sqrt(fan-in) that gives He's variance, 2 / fan-in.
HE = math.sqrt(6)


def relu(units: int, layer: int) -> nn.Module:
    """Make a ReLU, whatever the layer."""
    return nn.ReLU()


class SparseMLP(nn.Module):
    """Multilayer perceptron of sparse layers (SET-MLP, Mocanu et al. 2018).

    Each hidden layer is ``dropout(activation(W x + b))``; the output layer is ``W x + b``. The
    links are at random positions, and biases start at 0. A layer that ``epsilon`` would fill, and
    an output layer of density 1, are ordinary :class:`torch.nn.Linear` layers, which no method
    rewires. With a density of 1 all layers are sparse ones that hold all links, so that methods can
    prune them.

    Args:
        sizes: number of inputs, of units of each hidden layer, and of outputs.
        density: fraction of the positions of each layer that hold a link, in (0, 1]; give this or
        epsilon: SET's size, ``epsilon * (inputs + outputs)`` links in each layer, at most all.
        output_density: density of the output layer, if different from that of the others.
        activation: function from the number of units and of the hidden layer, from 0, to a module.
        dropout: fraction of hidden activations that training sets to 0, in [0, 1).
        initial_std: standard deviation of normal initial weights, 0.1 in SET; None for
            U(-b, b) with ``b = sqrt(6 / links into the unit)``, which has He's variance.
        generator: source of randomness on the CPU.

    Attributes:
        layers: the layers, activations and dropouts as one :class:`torch.nn.Sequential`.

    Raises:
        ValueError: fewer than two sizes, or a size, density, epsilon, dropout or standard deviation
            out of range, or not exactly one of density and epsilon.

    Example:
        >>> model = SparseMLP(
        ...     [784, 1000, 1000, 10], epsilon=20, activation=lambda units, layer: SReLU(units)
        ... )
        >>> wire(SparseMLP([784, 1000, 10], density=0.05), ERKDensity(0.05))
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        density: float | None = None,
        epsilon: float | None = None,
        output_density: float | None = None,
        activation: Activation = relu,
        dropout: float = 0.0,
        initial_std: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if len(sizes) < 2:
            raise ValueError(f"expected sizes of inputs and outputs at least, found {[*sizes]}")
        check_std(initial_std)
        last = len(sizes) - 2
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            own = density, epsilon
            if layer == last and output_density is not None:
                own = output_density, None
            full = number_of_links(inputs, outputs, *own) == inputs * outputs
            linear = (
                _dense(inputs, outputs, generator)
                if full and own != (density, None)
                else SparseLinear(
                    inputs, outputs, density=own[0], epsilon=own[1], gain=HE, generator=generator
                )
            )
            _draw(linear, initial_std, generator)
            parts[f"linear{layer}"] = linear
            if layer < last:
                parts[f"activation{layer}"] = activation(outputs, layer)
                parts[f"dropout{layer}"] = nn.Dropout(dropout)
        super().__init__()
        self.layers = nn.Sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, ``[..., outputs]``, for x of ``[..., inputs]``."""
        return self.layers(x)

    @property
    def linear(self) -> list[SparseLinear | nn.Linear]:
        """The layers without their activations, from the inputs on."""
        return [each for each in self.layers if isinstance(each, SparseLinear | nn.Linear)]


@torch.no_grad()
def _dense(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """Make a dense layer with uniform values of He's variance."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = HE / math.sqrt(max(1, inputs))
    linear.weight.uniform_(-bound, bound, generator=generator)
    return linear


@torch.no_grad()
def _draw(
    linear: SparseLinear | nn.Linear, std: float | None, generator: torch.Generator | None
) -> None:
    """Draw the values from N(0, std^2) if a standard deviation is given; set the biases to 0."""
    if std is not None:
        values = linear.weight if isinstance(linear, nn.Linear) else linear.weight.values
        values.normal_(std=std, generator=generator)
    nn.init.zeros_(linear.bias)


@dataclass(frozen=True)
class MLPNetwork(FeedForwardNetwork):
    """Description of a multilayer perceptron."""

    hidden: tuple[int, ...] = (1000, 1000, 1000)
    """Units of each hidden layer."""
    output_density: float | None = None
    """Density of the output layer, if different from the other layers'; 1 for a dense one."""
    activation: Literal[tuple(ACTIVATIONS)] = "relu"  # type: ignore[valid-type]
    """Activation of hidden units."""
    slope: float = 0.6
    """Slope of the left side of all_relu."""
    dropout: float = 0.0
    """Dropout of hidden activations, in [0, 1)."""

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def mlp(self, inputs: int, outputs: int, *, generator: torch.Generator) -> SparseMLP:
        """Make the network.

        Args:
            inputs: number of features of the input.
            outputs: number of outputs.
            generator: source of randomness on the CPU.

        Raises:
            ValueError: an option out of range, or a network that does not fit into memory.
        """
        sizes = [inputs, *self.hidden, outputs]
        self.check_size(sizes)
        return SparseMLP(
            sizes,
            **self.links(),
            output_density=self.output_density,
            activation=ACTIVATIONS[self.activation](self.slope, generator),
            dropout=self.dropout,
            initial_std=self.initial_std,
            generator=generator,
        )
