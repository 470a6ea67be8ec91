"""The firing-rate network with sparse recurrent weights."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from sparse_engine.nn._checks import check_number
from sparse_engine.nn._keywords import LeakyOptions
from sparse_engine.nn.cells.leaky import Leaky
from sparse_engine.nn.options import Option
from sparse_engine.nn.sparse_recurrent import Ran
from sparse_engine.ops.continuous import FUNCTIONS, check_nonlinearity
from sparse_engine.ops.rate_rnn import rate_rnn_and_final


def _check_sigma(name: str, value: object) -> None:
    check_number(f"finite {name} >= 0", value, lambda number: 0 <= number < math.inf)


class SparseRateRNN(Leaky):
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
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        nonlinearity: the function f: "relu", "tanh", "softplus" or "sigmoid".
        sigma: strength of the noise: the standard deviation, in the long run, of a unit without
            inputs, for dt far below tau.
        unfolds: number of steps of Euler's method for each input.
        **options: tau, trainable_tau, groups and dt as in :class:`SparseCTRNN`, and the other
            arguments of :class:`SparseRecurrent`, by name. Units of a group share b, too.

    Parameters are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones, except b,
    which is called ``bias_l0`` and starts at 0.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> rnn = SparseRateRNN(64, 1024, density=0.05, nonlinearity="softplus", sigma=0.1)
        >>> v, v_n = rnn(torch.randn(50, 32, 64))
        >>> rnn.rates(v).shape, v_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    options: ClassVar[dict[str, Option]] = {
        **Leaky.options,
        "nonlinearity": Option(check_nonlinearity),
        "sigma": Option(_check_sigma),
    }
    nonlinearity: str
    sigma: float
    operation = rate_rnn_and_final

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        nonlinearity: str = "relu",
        sigma: float = 0.0,
        unfolds: int = 1,
        **options: Unpack[LeakyOptions],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            nonlinearity=nonlinearity,
            sigma=sigma,
            unfolds=unfolds,
            **options,
        )
        weight = self.weight_hh_l0
        zeros = partial(torch.zeros, dtype=weight.dtype, device=weight.crow_indices.device)
        for name, _ in self.layers() if self.bias else ():
            setattr(self, f"bias_{name}", nn.Parameter(zeros(self.num_groups)))

    @property
    def _bias_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}  # the constructor makes the only bias after the groups, whose number it needs

    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        timespans: Tensor | None = None,
        resets: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the network over whole sequences, see :meth:`Continuous.forward`.

        Args:
            input: the input.
            hx: the initial potentials.
            timespans: how long each input is held.
            resets: where episodes begin.
            generator: source of all randomness in this call; torch's global generator by default.
        """
        given = {"timespans": timespans, "resets": resets}
        if generator is None:
            return super().forward(input, hx, **given)
        seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
        with torch.random.fork_rng([input.device] if input.is_cuda else []):
            torch.manual_seed(int(seed))
            return super().forward(input, hx, **given)

    def rates(self, v: Tensor) -> Tensor:
        """Return the firing rates ``f(v)`` of potentials."""
        return FUNCTIONS[self.nonlinearity](v)

    def to_next_layer(self, outputs: Tensor) -> Tensor:
        """Return the rates, which the next layer reads."""
        return self.rates(outputs)

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return initial values of a parameter; biases start at 0."""
        if name.startswith("bias"):
            return torch.zeros_like(parameter)
        return super().first_values(name, parameter)

    def equation(self, layer: str) -> dict[str, object]:
        """Return the arguments of the operation; with noise, each unfold is a step of its own."""
        own = {"nonlinearity": self.nonlinearity} | ({"unfolds": 1} if self.sigma else {})
        return super().equation(layer) | own

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        return (self.of_units(getattr(self, f"bias_{name}")) if self.bias else None), None

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        dt: Tensor,
        resets: Tensor | None = None,
    ) -> Ran:
        """Run one layer, with noise added to the input of each step of Euler's method."""
        if not self.sigma:
            return super().run_cell(layer, x, w_input, state, bias, dt, resets)
        x, dt = (each.repeat_interleave(self.unfolds, 0) for each in (x, dt))
        # Step by step, so that segments of a sequence draw what the whole sequence would.
        drawn = [torch.randn(x.shape[1:], dtype=dt.dtype, device=x.device) for _ in range(len(x))]
        length = torch.where(dt > 0, dt, 1).unsqueeze(-1)  # a step without time has no noise
        x = x + self.sigma * (2 * self.tau(layer) / length).sqrt() * torch.stack(drawn)
        if resets is not None:  # an episode begins at the first step of Euler's method
            others = (0, 0, 0, self.unfolds - 1)
            resets = nn.functional.pad(resets.unsqueeze(1), others).flatten(0, 1)
        h, final, _ = super().run_cell(layer, x, w_input, state, bias, dt, resets)
        return Ran(h[self.unfolds - 1 :: self.unfolds], final)
