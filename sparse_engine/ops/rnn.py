"""The Elman recurrence over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation
from sparse_engine.ops._fake import fake
from sparse_engine.ops._gradients import of_input, where_needed
from sparse_engine.ops._native import call, differentiable, native, refuse_second_derivative
from sparse_engine.ops._sequence import batch_of, joined, steps_of
from sparse_engine.ops.pattern import Pattern

ACTIVATIONS = {"tanh": 0, "relu": 1}


def rnn(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """``h[t] = act(x[t] @ w_input.T + bias + h[t - 1] @ W.T)`` for every t, ``h[-1] = h0``.

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h`` is kept
    for the backward pass.

    With float32 values, x and h0 may be bfloat16, and become it under
    ``torch.autocast(x.device.type, torch.bfloat16)``: every h and dz is rounded to within 2^-8 of
    itself, products and sums are taken in float32, and so are the gradients of the parameters.

    Args:
        x: float32 or float64 ``[steps, batch, inputs]``; without ``w_input`` the input's
            contribution itself, ``[steps, batch, hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[hidden]``, or None.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight W.
        w_input: dense ``[hidden, inputs]``, or None. Meant for few inputs: it is read again at
            every step.
        nonlinearity: ``"tanh"`` or ``"relu"``, as in :class:`torch.nn.RNN`.
        batch_sizes: for sequences of different lengths, int64 on the CPU, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or the nonlinearity is unknown.
    """
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', found {nonlinearity!r}")
    x, h0 = as_activation(x, values), None if h0 is None else as_activation(h0, values)
    return _rnn(x, w_input, h0, bias, values, *pattern, batch_sizes, ACTIVATIONS[nonlinearity])


def rnn_ref(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """The slow twin of :func:`rnn` in plain torch."""
    weight = pattern.dense(values)
    z = x if w_input is None else x @ w_input.T
    h = z.new_zeros(batch_of(z, batch_sizes), weight.shape[0]) if h0 is None else h0
    states = []
    for step in steps_of(z if bias is None else z + bias, batch_sizes):
        h = getattr(torch, nonlinearity)(step + h[: len(step)] @ weight.T)
        states.append(h)
    return joined(states, batch_sizes)


@fake("rnn_forward")
def _(x, w_input, h0, bias, values, crow, *structure_and_options):
    return x.new_empty(*x.shape[:-1], crow.numel() - 1)


@fake("rnn_backward")
def _(dh, h, x, h0, values, *structure_and_options):
    *_, wants_dz, wants_values = structure_and_options
    hidden = h.shape[-1]
    return (
        h.new_empty(h.shape[0] if wants_dz else 0, *h.shape[1:]),
        values.new_empty(0 if x is None else hidden, 0 if x is None else x.shape[-1]),
        h.new_empty(0 if h0 is None else h0.shape[0], hidden),
        values.new_empty(hidden),
        values.new_empty(values.shape if wants_values else 0),
    )


def _save(ctx, inputs, output):
    x, w_input, h0, _, values, *structure, activation = inputs
    x = None if w_input is None else x
    ctx.save_for_backward(output, x, w_input, h0, values, *structure)
    ctx.activation = activation


def _backward(ctx, dh):
    h, x, w_input, h0, values, *structure = ctx.saved_tensors
    needs_x, needs_w_input, _, _, needs_values, *_ = ctx.needs_input_grad
    dz, dw_input, dh0, dbias, dvalues = call(
        native.rnn_backward.default,
        dh,
        h,
        x if needs_w_input else None,
        h0,
        values,
        *structure,
        ctx.activation,
        needs_x,
        needs_values,
    )
    dx = of_input(dz, w_input) if needs_x else None
    return where_needed(ctx, dx, dw_input, dh0, dbias, dvalues)


_rnn = differentiable(native.rnn_forward.default, save=_save, backward=_backward)
refuse_second_derivative(native.rnn_backward.default, "rnn_ref")
