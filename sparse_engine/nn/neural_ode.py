"""A recurrent network whose state follows a neural ODE between its inputs."""

from __future__ import annotations

import torch

from sparse_engine.nn._continuous import Continuous
from sparse_engine.ops import RK4, Solver


class SparseNeuralODE(Continuous):
    """A state that follows a neural ODE (Chen et al. 2018) with weights that exist only as links.

    While input ``x_t`` is held, ``dh/ds = tanh(x_t W_ih^T + b_ih + h W_hh^T + b_hh)``: nothing
    decays. It takes ``unfolds`` steps of a fixed-step solver; gradients are those of these steps,
    through every stage (not of the adjoint equation), and exact. Every step of every layer is one
    native operation each way; training keeps what one state per step takes, for any number of
    unfolds and stages.

    Args:
        input_size: features of the input.
        hidden_size: units of each layer.
        num_layers: layers, stacked.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are [batch, steps, features] instead of
            [steps, batch, features].
        dropout: share of each layer's output (but the last's) that is dropped in training.
        bidirectional: a second network reads each sequence backwards.
        device: where the parameters are put.
        dtype: float32 or float64.
        solver: :class:`RK4` by default, :class:`Euler`, or a :class:`Solver` of your own.
        unfolds: steps of the solver for each input.
        dt: the length of each, unless :meth:`forward` gets timespans.
        density: share of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        input_density: the same for layer 0's input weights; at 1.0 they are an ordinary dense
            parameter.
        gain: scale of the initial sparse values, see :meth:`SparseWeight.erdos_renyi`.
        generator: source of randomness on the CPU.
        checkpoint_every: for long sequences: training keeps the state after so many steps only, and
            computes the steps between once more in the backward pass.

    Parameters are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones.

    Raises:
        ValueError: dt that is not positive, or unfolds below 1.

    Example:
        >>> ode = SparseNeuralODE(64, 1024, density=0.05)
        >>> y, h_n = ode(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    settings = (*Continuous.settings, "solver")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        solver: Solver | None = None,
        unfolds: int = 6,
        dt: float = 0.01,
        density: float,
        input_density: float = 1.0,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            solver=RK4() if solver is None else solver,
            unfolds=unfolds,
            dt=dt,
            density=density,
            input_density=input_density,
            gain=gain,
            generator=generator,
            checkpoint_every=checkpoint_every,
        )
