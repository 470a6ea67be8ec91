"""Multilayer perceptrons with sparse weights."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparse_engine.models.feed_forward import check_std, layer_links
from sparse_engine.nn import SparseLinear

#: Function from the number of units and the number of the hidden layer, from 0, to its activation.
Activation = Callable[[int, int], nn.Module]

#: Factor of U(-g, g) / sqrt(fan-in) that gives He's variance, 2 / fan-in.
HE = math.sqrt(6)


def relu(units: int, layer: int) -> nn.Module:
    """Make a ReLU, whatever the layer."""
    return nn.ReLU()


class SparseMLP(nn.Module):
    """Multilayer perceptron of sparse layers (SET-MLP, Mocanu et al. 2018).

    Each hidden layer is ``dropout(activation(W x + b))``; the output layer is ``W x + b``. The
    links are at random positions, and biases start at 0. A layer all of whose positions hold a
    link is an ordinary :class:`torch.nn.Linear`, which no method rewires. Only if all layers are
    such, they are sparse ones, so that methods can prune them.

    Args:
        sizes: number of inputs, of units of each hidden layer, and of outputs.
        density: fraction of the positions of a layer that hold a link, in (0, 1], one number or a
            number for each layer; give this or
        epsilon: SET's size, ``epsilon * (inputs + outputs)`` links in each layer, at most all.
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
        density: float | Sequence[float] | None = None,
        epsilon: float | None = None,
        activation: Activation = relu,
        dropout: float = 0.0,
        initial_std: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if len(sizes) < 2:
            raise ValueError(f"expected sizes of inputs and outputs at least, found {[*sizes]}")
        check_std(initial_std)
        links = layer_links(sizes, density, epsilon)
        positions = [inputs * outputs for inputs, outputs in pairwise(sizes)]
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            linear = (
                _dense(inputs, outputs, generator)
                if links[layer] == positions[layer] and links != positions
                else SparseLinear(
                    inputs,
                    outputs,
                    density=links[layer] / positions[layer],
                    gain=HE,
                    generator=generator,
                )
            )
            _draw(linear, initial_std, generator)
            parts[f"linear{layer}"] = linear
            if layer < len(links) - 1:
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
