"""Maker of the weights and parameters of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparse_engine.nn import _initial_values
from sparse_engine.nn.weight import SparseWeight


@dataclass(frozen=True)
class Maker:
    """Makes weights and parameters of one network: of its densities, dtype and device.

    Attributes:
        hidden_size: number of units of each layer.
        bias: whether units have biases.
        density: fraction of the recurrent weights that exist, and of those between layers.
        input_density: fraction of layer 0's input weights that exist; at 1.0 they are dense.
        gain: scale of the initial sparse values.
        generator: source of randomness on the CPU.
        like: the device and dtype of parameters, as torch's constructors take them.
    """

    hidden_size: int
    bias: bool
    density: float
    input_density: float
    gain: float
    generator: torch.Generator | None
    like: dict[str, Any]

    def sparse(self, rows: int, columns: int, density: float | None = None) -> SparseWeight:
        """Return a sparse weight; of the network's density by default."""
        return SparseWeight.erdos_renyi(
            rows,
            columns,
            density=self.density if density is None else density,
            gain=self.gain,
            generator=self.generator,
            **self.like,
        )

    def input(self, rows: int, columns: int, first: bool) -> SparseWeight | nn.Parameter:
        """Return an input weight: of layer 0 (``first``), or of a later layer."""
        if first and self.input_density == 1:
            return self.uniform(rows, columns)
        return self.sparse(rows, columns, self.input_density if first else self.density)

    def uniform(self, *shape: int) -> nn.Parameter:
        """Return a dense parameter drawn from U(-b, b), ``b = 1 / sqrt(hidden_size)``."""
        values = _initial_values.blank(*shape, **self.like)
        _initial_values.uniform_(values, self.hidden_size, self.generator)
        return nn.Parameter(_initial_values.moved(values, self.like["device"]))

    def full(self, value: float, *shape: int) -> nn.Parameter:
        """Return a dense parameter of one value."""
        return nn.Parameter(torch.full(shape, value, **self.like))
