"""The GRU over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._native import call, differentiable, native, refuse_second_derivative
from sparse_engine.ops.pattern import Pattern


def gru(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
) -> Tensor:
    """Gated recurrent units (Cho et al. 2014), the reset gate where :class:`torch.nn.GRU` has it.

    With ``u_r, u_z, u_n = (bias + h[t - 1] @ W.T).chunk(3, -1)`` and x likewise, for every t::

        r, z = sigmoid(x_r + u_r), sigmoid(x_z + u_z)
        h[t] = (1 - z) * tanh(x_n + r * u_n) + z * h[t - 1]

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``r``,
    ``z``, the candidate and ``u_n`` are kept for the backward pass, and without autograd not even
    these.

    Args:
        x: float32 or float64 ``[steps, batch, 3 * hidden]``, the input's contribution to each gate.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[3 * hidden]``, the bias of the recurrent product, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``3 * hidden x hidden``: a block of rows for each gate.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step.
    """
    return gru_and_reset(x, h0, bias, values, pattern)[0]


def gru_and_reset(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
) -> tuple[Tensor, Tensor]:
    """:func:`gru`, and the reset gates ``r`` of all steps (none without autograd).

    The gradient of ``u_n`` is r times that of ``x_n``; the other two gates share theirs.
    """
    h, saved = _gru(x, h0, bias, values, *pattern, torch.is_grad_enabled())
    return h, saved[..., : h.shape[2]]


def gru_ref(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
) -> Tensor:
    """The slow twin of :func:`gru` in plain torch."""
    weight = pattern.dense(values)
    h = x.new_zeros(x.shape[1], weight.shape[1]) if h0 is None else h0
    states = []
    for step in x:
        u = h @ weight.T if bias is None else h @ weight.T + bias
        (x_r, x_z, x_n), (u_r, u_z, u_n) = step.chunk(3, -1), u.chunk(3, -1)
        r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
        h = (1 - z) * torch.tanh(x_n + r * u_n) + z * h
        states.append(h)
    return torch.stack(states)


@torch.library.register_fake("sparse_engine::gru_forward")
def _(x, h0, bias, values, crow, col, t_crow, t_col, permutation, keep):
    (steps, batch, _), hidden = x.shape, t_crow.numel() - 1
    return (
        x.new_empty(steps, batch, hidden),
        x.new_empty(steps if keep else 0, batch, 4 * hidden),
    )


@torch.library.register_fake("sparse_engine::gru_backward")
def _(dh, h, saved, h0, values, crow, col, t_crow, t_col, permutation, wants_x, wants_values):
    steps, batch, hidden = h.shape
    return (
        h.new_empty(steps if wants_x else 0, batch, 3 * hidden),
        h.new_empty(0 if h0 is None else batch, hidden),
        h.new_empty(3 * hidden),
        h.new_empty(values.shape if wants_values else 0),
    )


def _save(ctx, inputs, output):
    _, h0, _, values, *pattern, _ = inputs
    h, saved = output
    ctx.mark_non_differentiable(saved)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(h, saved, h0, values, *pattern)


def _backward(ctx, dh, _):
    h, saved, h0, values, *pattern = ctx.saved_tensors
    needs_x, needs_h0, needs_bias, needs_values, *_ = ctx.needs_input_grad
    dx, dh0, dbias, dvalues = call(
        native.gru_backward.default,
        torch.zeros_like(h) if dh is None else dh,
        h,
        saved,
        h0,
        values,
        *pattern,
        needs_x,
        needs_values,
    )
    return (
        dx if needs_x else None,
        dh0 if needs_h0 else None,
        dbias if needs_bias else None,
        dvalues if needs_values else None,
        *(None,) * 6,
    )


_gru = differentiable(native.gru_forward.default, save=_save, backward=_backward)
refuse_second_derivative(native.gru_backward.default, "gru_ref")
