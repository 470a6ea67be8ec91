"""The Elman recurrence over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._native import native
from sparse_engine.ops.pattern import Pattern

ACTIVATIONS = {"tanh": 0, "relu": 1}


def rnn(
    z: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    nonlinearity: str = "tanh",
) -> Tensor:
    """``h[t] = act(z[t] + bias + h[t - 1] @ W.T)`` for every step t, with ``h[-1] = h0``.

    Differentiable once, in ``z``, ``h0``, ``bias`` and ``values``. Only ``h`` is kept for the
    backward pass.

    Args:
        z: the input's contribution, float32 or float64 ``[steps, batch, hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[hidden]``, or None.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight.
        nonlinearity: ``"tanh"`` or ``"relu"``, as in :class:`torch.nn.RNN`.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or the nonlinearity is unknown.
    """
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', found {nonlinearity!r}")
    return native.rnn_forward(z, h0, bias, values, *pattern, ACTIVATIONS[nonlinearity])


def rnn_ref(
    z: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    nonlinearity: str = "tanh",
) -> Tensor:
    """The slow twin of :func:`rnn` in plain torch."""
    weight = pattern.dense(values)
    h = z.new_zeros(z.shape[1:]) if h0 is None else h0
    states = []
    for step in z if bias is None else z + bias:
        h = getattr(torch, nonlinearity)(step + h @ weight.T)
        states.append(h)
    return torch.stack(states)


@torch.library.register_fake("sparse_engine::rnn_forward")
def _(z, h0, bias, values, crow, col, t_crow, t_col, permutation, activation):
    return z.new_empty(z.shape)


@torch.library.register_fake("sparse_engine::rnn_backward")
def _(dh, h, h0, values, crow, col, t_crow, t_col, permutation, activation, wants_values):
    hidden = h.shape[2]
    return (
        h.new_empty(h.shape),
        h.new_empty(0 if h0 is None else h.shape[1], hidden),
        h.new_empty(hidden),
        h.new_empty(values.shape if wants_values else 0),
    )


def _save(ctx, inputs, output):
    _, h0, _, values, *pattern, activation = inputs
    ctx.save_for_backward(output, h0, values, *pattern)
    ctx.activation = activation


def _backward(ctx, dh):
    h, h0, values, *pattern = ctx.saved_tensors
    needs = ctx.needs_input_grad
    dz, dh0, dbias, dvalues = native.rnn_backward(
        dh, h, h0, values, *pattern, ctx.activation, needs[3]
    )
    return (
        dz if needs[0] else None,
        dh0 if needs[1] else None,
        dbias if needs[2] else None,
        dvalues if needs[3] else None,
        *(None,) * 6,
    )


def _no_second_derivative(ctx, *gradients):
    raise RuntimeError(
        "the sparse recurrence can be differentiated once; for a second derivative use "
        "sparse_engine.ops.rnn_ref, which is plain torch"
    )


torch.library.register_autograd("sparse_engine::rnn_forward", _backward, setup_context=_save)
torch.library.register_autograd("sparse_engine::rnn_backward", _no_second_derivative)
