"""The continuous-time recurrent network with sparse recurrent weights."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from sparse_engine.nn._keywords import RecurrentOptions
from sparse_engine.nn.cells.continuous import Continuous
from sparse_engine.nn.options import CLIP, FLAG, Option
from sparse_engine.ops import Euler


class SparseCTRNN(Continuous):
    """Leaky units in continuous time (Funahashi & Nakamura 1993), connected by links only.

    While input ``x_t`` is held, the state follows ``dh/ds = -h / tau + tanh(x_t W_ih^T + b_ih +
    h W_hh^T + b_hh)``. It is integrated by ``unfolds`` steps of Euler's method,
    ``h + dt * dh/ds``, which is stable for dt < 2 tau. The forward pass of a layer over all time
    steps is one native operation, and so is its backward pass. Training keeps one state per time
    step, for any number of unfolds.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        tau: time constants, in the unit of time of dt: a number, or one for each unit
            ``[hidden_size]``. All layers start with the same ones.
        trainable_tau: whether time constants are trained. Their logarithms are then the parameters
            ``log_tau_l0``, ..., so that time constants stay positive and an optimizer changes them
            by a factor. Otherwise time constants are the buffers ``tau_l0``, ...
        unfolds: number of steps of Euler's method for each input.
        dt: length of each of these steps, unless timespans are given.
        cell_clip: c to clip the state to [-c, c] after each unfold; no gradient passes a clipped
            state. None for no clipping.
        **options: the other arguments of :class:`SparseRecurrent` by name: bias, batch_first,
            dropout, bidirectional, device, dtype, input_density, gain, generator,
            checkpoint_every.

    Weights and biases are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones.

    Raises:
        ValueError: tau or dt that is not positive, unfolds below 1, or a cell_clip that is not
            positive.

    Example:
        >>> rnn = SparseCTRNN(64, 1024, density=0.05, tau=0.5)
        >>> y, h_n = rnn(torch.randn(50, 32, 64), timespans=torch.rand(50))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    options: ClassVar[dict[str, Option]] = {
        **Continuous.options,
        "trainable_tau": FLAG,
        "cell_clip": CLIP,
    }
    trainable_tau: bool
    cell_clip: float | None
    solver = Euler()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        tau: float | Tensor = 1.0,
        trainable_tau: bool = False,
        unfolds: int = 6,
        dt: float = 0.1,
        cell_clip: float | None = None,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            trainable_tau=trainable_tau,
            unfolds=unfolds,
            dt=dt,
            cell_clip=cell_clip,
            **options,
        )
        weight = self.weight_hh_l0
        if isinstance(tau, Tensor) and tau.shape not in ((), (hidden_size,)):
            raise ValueError(f"expected tau of shape [{hidden_size}], found {[*tau.shape]}")
        each = tau.reshape(-1).tolist() if isinstance(tau, Tensor) else [tau]
        wrong = [one for one in each if not 0 < one < math.inf]
        if wrong:
            raise ValueError(f"expected finite tau > 0, found {wrong[0]}")
        tau = torch.as_tensor(tau, dtype=weight.dtype, device=weight.crow_indices.device)
        self._first_tau = torch.tensor(each, dtype=torch.float64, device="cpu")
        for name, _ in self.layers():
            own = tau.detach().expand(hidden_size).clone()
            if trainable_tau:
                setattr(self, f"log_tau_{name}", nn.Parameter(own.log_()))
            else:
                self.register_buffer(f"tau_{name}", own)

    def tau(self, layer: str = "l0") -> Tensor:
        """Return the time constants ``[hidden_size]`` of a layer, such as ``"l0_reverse"``."""
        if self.trainable_tau:
            return getattr(self, f"log_tau_{layer}").exp()
        return getattr(self, f"tau_{layer}")

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return initial values of a parameter; time constants get those of the constructor."""
        if name.startswith("log_tau"):
            return self._first_tau.log().to(parameter).expand(parameter.shape)
        return super().first_values(name, parameter)

    def _rate(self, name: str) -> Tensor:
        return 1 / self.tau(name)

    def _clip(self) -> float | None:
        return self.cell_clip
