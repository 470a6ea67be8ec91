"""Descriptions of networks: plain settings from which a task builds its model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from sparse_engine.lab.networks.limits import check_size
from sparse_engine.lab.networks.wiring import WIRINGS, wire_network
from sparse_engine.nn import CELLS, Recurrent
from sparse_engine.nn.recurrent import recurrent_weights


@dataclass(frozen=True)
class Network:
    """Base of descriptions of networks.

    A description holds numbers, strings and flags only, so that it can be written to JSON and read
    from the command line. A subclass adds a method that makes its kind of network.
    """

    density: float = 0.05
    """Fraction of the sparse weights' positions that hold a link at the start, in (0, 1]."""


@dataclass(frozen=True)
class RecurrentNetwork(Network):
    """Description of a recurrent network with one cell of the registry :data:`CELLS`."""

    cell: Literal[tuple(CELLS)] = "rnn"  # type: ignore[valid-type]
    """Recurrent cell."""
    hidden: int = 128
    """Units of each layer."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    input_density: float = 1.0
    """Fraction of the input weights that exist; at 1 the input weight is an ordinary dense one."""
    gain: float = 1.4
    """Scale of the initial recurrent weights, U(-g, g) / sqrt(fan-in); ltc has its own."""
    unscaled: bool = False
    """Whether the initial recurrent weights are as small as those of a dense network, whatever the
    density: the gain is multiplied by the square root of the density."""
    input_std: float | None = None
    """Standard deviation of normal initial input weights, with biases of 0; by default the cell's
    own initial values."""
    readout_std: float | None = None
    """Standard deviation of normal initial weights of the readout; by default Glorot's uniform
    ones."""
    wiring: Literal[("random", *WIRINGS)] = "random"  # type: ignore[valid-type]
    """Recurrent wiring at the start: random; balanced, whose structural balance is given; or
    planted, with feed-forward loops whose links are in no other loop."""
    wiring_options: Mapping[str, int | float | bool] = field(default_factory=dict)
    """Options of the wiring: balance of balanced, loops of planted, and the bound and spectral
    radius of the weights of both."""
    fixed_weights: bool = False
    """Whether recurrent weights keep their initial values, so that only the others are trained."""
    dropout: float = 0.0
    """Dropout between layers, in [0, 1)."""
    step_dropout: float = 0.0
    """Fraction of the steps of each sequence whose features are 0 in training, in [0, 1]."""
    cell_options: Mapping[str, int | float | bool] = field(default_factory=dict)
    """Further options of the cell, such as chunk_size of on_lstm or recurrence_depth of rhn."""

    def recurrent(
        self, inputs: int, *, generator: torch.Generator, positions: int = 1
    ) -> Recurrent:
        """Make the recurrent network; training keeps the states of so many steps and sequences."""
        check_size(self.hidden, self.density, positions)
        gain = self.gain * math.sqrt(self.density) if self.unscaled else self.gain
        network = layers_of(
            self.cell,
            inputs,
            self.hidden,
            self.layers,
            gain=gain,
            density=self.density,
            input_density=self.input_density,
            dropout=self.dropout,
            generator=generator,
            **self.cell_options,
        )
        if self.wiring != "random":
            drawn: dict[str, Any] = {"density": self.density, "gain": gain, "generator": generator}
            wire_network(network, self.wiring, self.wiring_options, **drawn)
        elif self.wiring_options:
            raise ValueError(
                "expected no wiring_options for a random wiring, found "
                f"{', '.join(self.wiring_options)}"
            )
        if self.fixed_weights:
            for weight in recurrent_weights(network):
                weight.requires_grad_(False)
        if "gain" not in network.cell.lacks and self.input_std is not None:
            _draw_input_weights(network, self.input_std, generator)
        return network


def layers_of(cell: str, *sizes: int, gain: float, **options: Any) -> Recurrent:
    """Make layers of numbers of inputs, units and layers, with a cell of the registry.

    The gain scales initial sparse values; conductances have initial values of their own.
    """
    entry = CELLS[cell]
    if "gain" not in entry.cell.lacks:
        options["gain"] = gain
    try:
        return entry(*sizes, **options)
    except TypeError as error:
        raise ValueError(f"expected options of the cell {cell}, found: {error}") from error


@torch.no_grad()
def _draw_input_weights(network: nn.Module, std: float, generator: torch.Generator) -> None:
    for name, parameter in network.named_parameters():
        if name.startswith("bias"):
            parameter.zero_()
        elif name.startswith("weight_ih_l0"):
            parameter.normal_(std=std, generator=generator)
