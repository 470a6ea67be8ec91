"""Cells with a native kernel that runs a whole sequence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sparse_engine.nn.capture import capture, captures, recurrence
from sparse_engine.nn.cell import Cell, Layer, multiply
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight

State = tuple[Tensor | None, ...]


class Given(NamedTuple):
    """Input and biases of a kernel, as it takes them.

    Attributes:
        x: the input where ``w_input`` is given, and ``W_ih x`` where it is None.
        w_input: the layer's dense input weight, or None.
        b_input: the bias of ``W_ih x`` where that is not in ``x`` yet, or None.
        bias: the bias of ``W_hh h``, or None.
    """

    x: Tensor
    w_input: Tensor | None
    b_input: Tensor | None
    bias: Tensor | None


class LayerOutput(NamedTuple):
    """Result of a kernel.

    Attributes:
        outputs: all outputs, ``[steps, batch, hidden]``; ``[rows, hidden]`` for packed sequences.
        final: the final states, one for each name in ``states``.
        saved: the tensor that the kernel keeps for its backward pass, if the capture of factors
            reads it.
    """

    outputs: Tensor
    final: tuple[Tensor, ...]
    saved: Tensor | None = None


class KernelCell(Cell):
    """Cell whose kernel multiplies by one recurrent weight; a subclass has :meth:`call`."""

    kernel: ClassVar[bool] = True

    def call(self, layer: Layer, given: Given, sequence: Sequence, state: State) -> LayerOutput:
        """Call the kernel for one layer in one direction."""
        raise NotImplementedError

    def run(self, layer: Layer, sequence: Sequence, state: State) -> tuple[Tensor, ...]:
        """Multiply by the input weight, unless the time loop does that, and call the kernel."""
        weights, weight_ih, x = self.weights(layer), layer["weight_ih"], sequence.x
        capturing = [weight for weight in weights if weight.captured is not None]
        b_input, bias = self.biases(layer)
        fused = not (
            isinstance(weight_ih, SparseWeight)
            or weight_ih.shape[1] > self.most_fused_inputs
            or capturing
            or (sequence.batch_sizes is None and x.shape[1] == 1)
        )
        given = Given(x, weight_ih, b_input, bias)
        if not fused:
            given = Given(multiply(weight_ih, x, b_input), None, None, bias)
        captures_now = bool(capturing) and torch.is_grad_enabled()
        if captures_now and not given.x.requires_grad:
            given = given._replace(x=given.x.detach().requires_grad_())
        outputs, final, saved = self.call(layer, given, sequence, state)
        if captures_now:
            self.capture(layer, given.x, outputs, state[0], saved, sequence)
        return outputs, *final

    def capture(
        self,
        layer: Layer,
        x: Tensor,
        h: Tensor,
        h0: Tensor | None,
        saved: Tensor | None,
        sequence: Sequence,
    ) -> None:
        """Capture the factors of the layer's weights in the backward pass.

        Args:
            layer: the layer's parameters.
            x: ``W_ih x``, whose gradient is known then.
            h: all outputs.
            h0: the initial state, or None for zeros.
            saved: the ``saved`` tensor of :class:`LayerOutput`.
            sequence: what was run over.
        """
        weight = layer["weight_hh"]
        if captures(weight):
            to_product = self.gradient_of_product(saved, sequence)
            capture(x, partial(recurrence, weight, h.detach(), h0, sequence, to_product))

    def gradient_of_product(
        self, saved: Tensor | None, sequence: Sequence
    ) -> Callable[[Tensor], Tensor] | None:
        """Return the function from the gradient of ``W_ih x`` to that of ``W_hh h``.

        None stands for the identity.
        """
        return None
