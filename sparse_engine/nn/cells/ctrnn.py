"""The continuous-time recurrent network with sparse recurrent weights."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import Unpack

from sparse_engine.nn._keywords import LeakyOptions
from sparse_engine.nn.cells.leaky import Leaky
from sparse_engine.nn.options import CLIP, Option


class SparseCTRNN(Leaky):
    """Leaky units in continuous time (Funahashi & Nakamura 1993), connected by links only.

    While input ``x_t`` is held, the state follows ``dh/ds = -h / tau + tanh(x_t W_ih^T + b_ih +
    h W_hh^T + b_hh)``. It takes ``unfolds`` steps of Euler's method, ``h + dt * dh/ds``, which is
    stable for dt < 2 tau. Every step of every layer is one native operation each way; training
    keeps what one state per step takes, for any number of unfolds.

    Args:
        input_size: features of the input.
        hidden_size: units of each layer.
        num_layers: layers, stacked.
        density: share of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        tau: time constants, in units of dt's time: a number, or one for each unit
            ``[hidden_size]``, or with groups for each of these. All layers start with the same.
        trainable_tau: whether each unit learns its own. Their logarithms are then the parameters
            ``log_tau_l0``, ...: a time constant stays positive, and a step of an optimizer changes
            it by a share. Otherwise they are the buffers ``tau_l0``, ...
        groups: for units that share time constants the group of each unit, ``[hidden_size]``
            integers from 0 on without gaps.
        unfolds: steps of Euler's method for each input.
        dt: the length of each, unless timespans are given.
        cell_clip: None, or c to clip the state to [-c, c] after each unfold; no gradient passes
            a state at the limit.
        **options: by name, what else :class:`SparseRecurrent` takes: bias, batch_first, dropout,
            bidirectional, device, dtype, input_density, gain, generator, checkpoint_every.

    Weights and biases are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones.

    Raises:
        ValueError: tau or dt that is not positive, unfolds below 1, a cell_clip that is not
            positive, or groups that are not numbered so.

    Example:
        >>> rnn = SparseCTRNN(64, 1024, density=0.05, tau=0.5)
        >>> y, h_n = rnn(torch.randn(50, 32, 64), timespans=torch.rand(50))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    options: ClassVar[dict[str, Option]] = {**Leaky.options, "cell_clip": CLIP}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        unfolds: int = 6,
        cell_clip: float | None = None,
        **options: Unpack[LeakyOptions],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            unfolds=unfolds,
            cell_clip=cell_clip,
            **options,
        )

    def equation(self, layer: str) -> dict[str, object]:
        """Return the rates at which units forget, and the limit of their states."""
        return {**super().equation(layer), "clip": self.cell_clip}
