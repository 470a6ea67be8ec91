"""The firing-rate network with sparse recurrent weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn.cell import Layer, Maker
from sparse_engine.nn.cells.ctrnn import Leaky, LeakyNetwork, of_units
from sparse_engine.nn.kernel_cell import State
from sparse_engine.nn.options import check_count, in_range, option
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops._sequence import States, check_one_of
from sparse_engine.ops.continuous import FUNCTIONS


@dataclass(frozen=True, kw_only=True)
class RateRNN(Leaky):
    """Unit of a firing-rate network (Song, Yang & Wang 2016), with white noise."""

    unfolds: int = option(check_count, 1)
    nonlinearity: str = option(partial(check_one_of, FUNCTIONS), "relu")
    sigma: float = option(in_range("finite {} >= 0", lambda s: 0 <= s < math.inf), 0.0)

    operation: ClassVar[Any] = ops.rate_rnn

    def bias_shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Return none: each group has one bias."""
        return {}

    def make(self, maker: Maker, inputs: int, first: bool) -> dict[str, Any]:
        """Return what a layer has, with the bias of each group."""
        made = super().make(maker, inputs, first)
        if maker.bias:
            made["bias"] = maker.full(0.0, self.num_groups(maker.hidden_size))
        return made

    def biases(self, layer: Layer) -> tuple[Tensor | None, Tensor | None]:
        """Return the bias of each unit, that of its group."""
        return of_units(layer["bias"], layer["groups"]) if "bias" in layer else None, None

    def to_next_layer(self, outputs: Tensor) -> Tensor:
        """Return the rates, which the next layer reads."""
        return FUNCTIONS[self.nonlinearity](outputs)

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the arguments of a step; with noise, each unfold is a step of its own."""
        own = {"nonlinearity": self.nonlinearity} | ({"unfolds": 1} if self.sigma else {})
        return super().arguments(layer) | own

    def with_noise(self, layer: Layer, sequence: Sequence) -> tuple[Tensor, Sequence]:
        """Return the input's contribution with noise, and the sequence, for each Euler step."""
        assert sequence.dt is not None
        given = self.input_sums(layer, sequence.x), sequence.dt
        v, dt = (each.repeat_interleave(self.unfolds, 0) for each in given)
        # Step by step, so that segments of a sequence draw what the whole sequence would.
        drawn = [torch.randn(v.shape[1:], dtype=dt.dtype, device=v.device) for _ in range(len(v))]
        length = torch.where(dt > 0, dt, 1).unsqueeze(-1)  # a step without time has no noise
        v = v + self.sigma * (2 * self.tau(layer) / length).sqrt() * torch.stack(drawn)
        resets = sequence.resets
        if resets is not None:  # an episode begins at the first step of Euler's method
            others = (0, 0, 0, self.unfolds - 1)
            resets = nn.functional.pad(resets.unsqueeze(1), others).flatten(0, 1)
        return v, Sequence(v, None, resets, dt)

    def run_steps(
        self, layer: Layer, sequence: Sequence, state: States, *v: Tensor, **drawn: Any
    ) -> States:
        """Run one layer step by step, with the noise of :meth:`run`."""
        if not self.sigma:
            return super().run_steps(layer, sequence, state, *v, **drawn)
        noisy, steps = self.with_noise(layer, sequence)
        y, *final = super().run_steps(layer, steps, state, noisy, **drawn)
        return y[self.unfolds - 1 :: self.unfolds], *final

    def run(self, layer: Layer, sequence: Sequence, state: State) -> States:
        """Run one layer, with noise added to the input of each step of Euler's method."""
        if not self.sigma:
            return super().run(layer, sequence, state)
        y, *final = self.solve(layer, *self.with_noise(layer, sequence), state)
        return y[self.unfolds - 1 :: self.unfolds], *final


class SparseRateRNN(LeakyNetwork):
    """Firing-rate network: potentials v with rates ``f(v)``, connected by links only.

    While input ``x_t`` is held, potentials follow ``tau dv/ds = -v + b + W_hh f(v) + W_ih x_t``
    plus white noise (Song, Yang & Wang 2016). They are integrated by ``unfolds`` steps of Euler's
    method, with a standard normal number ``xi`` for each step, unit and sequence::

        v += dt / tau * (-v + b + W_hh f(v) + W_ih x_t) + sigma * sqrt(2 * dt / tau) * xi

    Outputs and states are potentials. :meth:`rates` returns their rates, for a readout; the layers
    of a stack read each other's rates.

    Noise is a part of the model in training and in evaluation; ``network.sigma = 0`` turns it off.
    It is drawn step by step from torch's generator, with the same numbers for any number of
    threads, in segments of ``checkpoint_every``, and after a resume with the generator's state.
    With noise, training keeps a state for each step of Euler's method; without noise, for each
    input.

    Args:
        nonlinearity: the function f: "relu", "tanh", "softplus" or "sigmoid".
        sigma: strength of the noise: the standard deviation, in the long run, of a unit without
            inputs, for dt far below tau.
        unfolds: number of steps of Euler's method for each input.
        **options: tau, trainable_tau, groups and dt as in :class:`SparseCTRNN`, and the other
            arguments of :class:`Recurrent`. Units of a group share b, too.

    The parameter b is called ``bias_l0`` and starts at 0.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> rnn = SparseRateRNN(64, 1024, density=0.05, nonlinearity="softplus", sigma=0.1)
        >>> v, v_n = rnn(torch.randn(50, 32, 64))
        >>> rnn.rates(v).shape, v_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = RateRNN

    def rates(self, v: Tensor) -> Tensor:
        """Return the firing rates ``f(v)`` of potentials."""
        return self.cell.to_next_layer(v)
