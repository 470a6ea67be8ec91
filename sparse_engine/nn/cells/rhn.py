"""The recurrent highway network with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from sparse_engine.nn._keywords import RecurrentOptions
from sparse_engine.nn.capture import Use, capture, captures
from sparse_engine.nn.options import COUNT, FLAG, FRACTION, Option
from sparse_engine.nn.sparse_recurrent import SparseRecurrent, dense_product
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops.rhn import rhn_and_states


class SparseRHN(SparseRecurrent):
    """Recurrent highway network (Zilly et al. 2017) whose recurrent weights exist only as links.

    Every time step passes through ``recurrence_depth`` levels. With s the state, m a mask of
    dropped units, and ``u = (m * s) R_l^T + b_l``, to which the first level adds ``x_t W_ih^T``::

        h, t, c = tanh(u_h), sigmoid(u_t), sigmoid(u_c)  in blocks of hidden_size
        s = h * t + s * c

    where ``coupled`` gates have no third block, and ``c = 1 - t``. The output is s after the last
    level. The forward pass of a layer over all time steps is one native operation, and so is its
    backward pass. The R_l of each level is one :class:`SparseWeight` of ``2 * hidden_size`` rows,
    or 3. Selfish-RNN's network has one layer, coupled gates, a depth of 10, and ``input_density``
    equal to ``density``.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        recurrence_depth: number of levels of each step.
        coupled: whether the carry gate is ``1 - t``.
        recurrent_dropout: fraction of the units that m drops in training, in [0, 1]. One mask
            serves all steps and levels of a sequence. It does not apply to ``s * c``.
        **options: the other arguments of :class:`SparseRecurrent` by name: bias, batch_first,
            dropout, bidirectional, device, dtype, input_density, gain, generator,
            checkpoint_every.

    Parameters are ``weight_ih_l0``, ``weight_hh_l0.0.values``, ``weight_hh_l0.1.values``, ... for
    the levels, and ``bias_hh_l0`` of shape ``[recurrence_depth, 2 * hidden_size]``, or 3; with
    ``_reverse`` for the other direction. With a negative bias of the transform gates t, a deep
    network initially carries most of its state.

    Example:
        >>> rhn = SparseRHN(64, 830, recurrence_depth=10, density=0.05)
        >>> y, h_n = rhn(torch.randn(35, 20, 64))
        >>> y.shape, h_n.shape
        (torch.Size([35, 20, 830]), torch.Size([1, 20, 830]))
    """

    options: ClassVar[dict[str, Option]] = {
        **SparseRecurrent.options,
        "recurrence_depth": COUNT,
        "coupled": FLAG,
        "recurrent_dropout": FRACTION,
    }
    recurrence_depth: int
    coupled: bool
    recurrent_dropout: float
    resettable = True
    bf16_devices = ("cpu",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        recurrence_depth: int,
        coupled: bool = True,
        recurrent_dropout: float = 0.0,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            recurrence_depth=recurrence_depth,
            coupled=coupled,
            recurrent_dropout=recurrent_dropout,
            **options,
        )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each gate: two blocks, and a third if the carry gate is not coupled."""
        return (self.hidden_size,) * (2 if self.coupled else 3)

    # Each class has a forward of its own: torch.compile counts recompilations by function.
    def forward(
        self, input: Tensor, hx: Tensor | None = None, *, resets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the network over whole sequences: :meth:`Recurrent.forward`."""
        return super().forward(input, hx, resets=resets)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        return self.weight_hh_l0[0].dtype

    @property
    def _bias_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"hh": (self.recurrence_depth, self.rows)}

    def _make_recurrent(self, sparse: Callable[[int, int], SparseWeight]) -> dict[str, nn.Module]:
        levels = (sparse(self.rows, self.hidden_size) for _ in range(self.recurrence_depth))
        return {"hh": nn.ModuleList(levels)}

    def recurrent_weights(self, layer: str) -> list[SparseWeight]:
        """Return the weight of each level."""
        return [*getattr(self, f"weight_hh_{layer}")]

    def constants(self, layer: str, x: Tensor) -> dict[str, Tensor]:
        """Return the mask of dropped units, one for all segments of a sequence."""
        if not self.training or self.recurrent_dropout == 0:
            return {}
        ones = x.new_ones(x.shape[1], self.hidden_size, dtype=self.dtype)
        return {"mask": nn.functional.dropout(ones, self.recurrent_dropout)}

    def run_layer(
        self,
        layer: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        mask: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run one layer in one operation."""
        weights = getattr(self, f"weight_hh_{layer}")
        for weight in weights:
            weight.refresh()
        weight_ih = getattr(self, f"weight_ih_{layer}")
        bias = getattr(self, f"bias_hh_{layer}") if self.bias else None
        if isinstance(weight_ih, SparseWeight):
            u = weight_ih(x).unsqueeze(1)
        else:
            u = dense_product(x, weight_ih).unsqueeze(1)
        capturing = any(captures(weight) for weight in weights)
        if capturing:
            # Zeros are added to the sums of every later level, so that their gradients can be read.
            u = nn.functional.pad(u, (0, 0) * 2 + (0, len(weights) - 1))
            u = u if u.requires_grad else u.requires_grad_()
        values = [weight.values for weight in weights]
        patterns = [weight.pattern for weight in weights]
        y, states = rhn_and_states(u, state[0], mask, bias, values, patterns, resets=resets)
        if capturing:
            capture(u, partial(_levels, weights, states if mask is None else mask * states))
        return y, y[-1]


def _levels(weights: Iterable[SparseWeight], states: Tensor, du: Tensor) -> Iterator[Use]:
    """Yield the use of each level's weight: the gradient of its sums with its masked state."""
    for level, weight in enumerate(weights):
        yield weight, states[:, level], du[:, level]
