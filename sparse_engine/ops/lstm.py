"""The LSTM over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._native import call, differentiable, native, refuse_second_derivative
from sparse_engine.ops._sequence import batch_of, joined, steps_of
from sparse_engine.ops.pattern import Pattern


def lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    With ``i, f, g, o = (x[t] @ w_input.T + bias + h[t - 1] @ W.T).chunk(4, -1)``, for every t::

        c[t] = sigmoid(f) * c[t - 1] + sigmoid(i) * tanh(g)
        h[t] = sigmoid(o) * tanh(c[t])

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``c`` and
    the four gates are kept for the backward pass, and without autograd not even these.

    Args:
        x: float32 or float64 ``[steps, batch, inputs]``; without ``w_input`` the input's
            contribution to each gate itself, ``[steps, batch, 4 * hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        c0: the same; give both or neither.
        bias: ``[4 * hidden]``, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``4 * hidden x hidden``: a block of rows for each gate.
        w_input: dense ``[4 * hidden, inputs]``, or None. Meant for few inputs: it is read again at
            every step.
        batch_sizes: for sequences of different lengths, int64 on the CPU, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``, and the last ``c``, ``[batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step.
    """
    h, c_n, *_ = _lstm(
        x, w_input, h0, c0, bias, values, *pattern, batch_sizes, torch.is_grad_enabled()
    )
    return h, c_n


def lstm_ref(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The slow twin of :func:`lstm` in plain torch."""
    weight = pattern.dense(values)
    v = x if w_input is None else x @ w_input.T
    zeros = x.new_zeros(batch_of(x, batch_sizes), weight.shape[1])
    h, c = zeros if h0 is None else h0, zeros if c0 is None else c0
    states, ended = [], []
    for step in steps_of(v if bias is None else v + bias, batch_sizes):
        ended.append(c[len(step) :])
        h, c = h[: len(step)], c[: len(step)]
        i, f, g, o = (step + h @ weight.T).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return joined(states, batch_sizes), torch.cat([c, *reversed(ended)])


@torch.library.register_fake("sparse_engine::lstm_forward")
def _(x, w_input, h0, c0, bias, values, crow, col, t_crow, t_col, permutation, batch_sizes, keep):
    rows, hidden = x.shape[:-1], t_crow.numel() - 1
    packed = batch_sizes is not None
    batch = torch.library.get_ctx().new_dynamic_size() if packed else x.shape[1]
    return (
        x.new_empty(*rows, hidden),
        x.new_empty(batch, hidden),
        x.new_empty(rows[0] if keep else 0, *rows[1:], 5 * hidden),
    )


@torch.library.register_fake("sparse_engine::lstm_backward")
def _(
    dh,
    dc_n,
    h,
    saved,
    x,
    h0,
    c0,
    values,
    crow,
    col,
    t_crow,
    t_col,
    permutation,
    batch_sizes,
    wants_v,
    wants_values,
):
    rows, hidden = h.shape[:-1], h.shape[-1]
    return (
        h.new_empty(rows[0] if wants_v else 0, *rows[1:], 4 * hidden),
        h.new_empty(0 if x is None else 4 * hidden, 0 if x is None else x.shape[-1]),
        h.new_empty(0 if h0 is None else h0.shape[0], hidden),
        h.new_empty(0 if c0 is None else c0.shape[0], hidden),
        h.new_empty(4 * hidden),
        h.new_empty(values.shape if wants_values else 0),
    )


def _save(ctx, inputs, output):
    x, w_input, h0, c0, _, values, *structure, _ = inputs
    h, _, saved = output
    ctx.mark_non_differentiable(saved)
    ctx.set_materialize_grads(False)
    x = None if w_input is None else x
    ctx.save_for_backward(h, saved, x, w_input, h0, c0, values, *structure)


def _backward(ctx, dh, dc_n, _):
    h, saved, x, w_input, h0, c0, values, *structure = ctx.saved_tensors
    needs_x, needs_w_input, needs_h0, needs_c0, needs_bias, needs_values, *_ = ctx.needs_input_grad
    dv, dw_input, dh0, dc0, dbias, dvalues = call(
        native.lstm_backward.default,
        torch.zeros_like(h) if dh is None else dh,
        dc_n,
        h,
        saved,
        x if needs_w_input else None,
        h0,
        c0,
        values,
        *structure,
        needs_x,
        needs_values,
    )
    dx = None
    if needs_x:
        dx = dv if w_input is None else dv @ w_input
    return (
        dx,
        dw_input if needs_w_input else None,
        dh0 if needs_h0 else None,
        dc0 if needs_c0 else None,
        dbias if needs_bias else None,
        dvalues if needs_values else None,
        *(None,) * 7,
    )


_lstm = differentiable(native.lstm_forward.default, save=_save, backward=_backward)
refuse_second_derivative(native.lstm_backward.default, "lstm_ref")
