"""The recurrent network of firing rates with sparse recurrent weights."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from sparse_engine.nn._keywords import LeakyOptions
from sparse_engine.nn.cells.leaky import Leaky
from sparse_engine.nn.options import Option
from sparse_engine.ops.continuous import FUNCTIONS, check_nonlinearity
from sparse_engine.ops.rate_rnn import rate_rnn_and_final


class SparseRateRNN(Leaky):
    """Firing rates ``f(v)`` of potentials v, as neuroscience writes them, connected by links only.

    While input ``x_t`` is held, ``tau dv/ds = -v + b + W_hh f(v) + W_ih x_t`` (Song, Yang & Wang
    2016). It takes ``unfolds`` steps of Euler's method::

        v += dt / tau * (-v + b + W_hh f(v) + W_ih x_t)

    Outputs and states are potentials. :meth:`rates` makes rates of them, for a readout; the layers
    of a stack read each other's rates.

    Args:
        input_size: features of the input.
        hidden_size: units of each layer.
        num_layers: layers, stacked.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        nonlinearity: f: "relu", "tanh", "softplus" or "sigmoid".
        unfolds: steps of Euler's method for each input.
        **options: by name, tau, trainable_tau, groups and dt as in :class:`SparseCTRNN`, and what
            else :class:`SparseRecurrent` takes. The units of a group share b, too.

    Parameters are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones, but for b,
    ``bias_l0``, which starts at 0.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> rnn = SparseRateRNN(64, 1024, density=0.05, nonlinearity="softplus", tau=0.5)
        >>> v, v_n = rnn(torch.randn(50, 32, 64))
        >>> rnn.rates(v).shape, v_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    options: ClassVar[dict[str, Option]] = {
        **Leaky.options,
        "nonlinearity": Option(check_nonlinearity),
    }
    operation = rate_rnn_and_final

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        nonlinearity: str = "relu",
        unfolds: int = 1,
        **options: Unpack[LeakyOptions],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            nonlinearity=nonlinearity,
            unfolds=unfolds,
            **options,
        )
        weight = self.weight_hh_l0
        zeros = partial(torch.zeros, dtype=weight.dtype, device=weight.crow_indices.device)
        for name, _ in self.layers() if self.bias else ():
            setattr(self, f"bias_{name}", nn.Parameter(zeros(self.num_groups)))

    @property
    def _bias_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}  # the one bias needs the groups, and is made behind them

    def rates(self, v: Tensor) -> Tensor:
        """Return the firing rates ``f(v)`` of potentials."""
        return FUNCTIONS[self.nonlinearity](v)

    def to_next_layer(self, outputs: Tensor) -> Tensor:
        """Return the rates, which the next layer reads."""
        return self.rates(outputs)

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return what ``reset_parameters`` fills a parameter with: biases start at 0."""
        if name.startswith("bias"):
            return torch.zeros_like(parameter)
        return super().first_values(name, parameter)

    def equation(self, layer: str) -> dict[str, object]:
        """Return the rates at which potentials leak, and the activation."""
        return {**super().equation(layer), "nonlinearity": self.nonlinearity}

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        return (self.of_units(getattr(self, f"bias_{name}")) if self.bias else None), None
