"""The Elman recurrence over a whole sequence, in one operation each way."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation
from sparse_engine.ops._sequence import Product, batch_of, multiplied, run_steps
from sparse_engine.ops._sequence_operation import sequence_operation
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
    resets: Tensor | None = None,
) -> Tensor:
    """Return ``h[t] = act(x[t] @ w_input.T + bias + h[t - 1] @ W.T)`` for every t, ``h[-1] = h0``.

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
        batch_sizes: int64 on the CPU, for sequences of different lengths, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` is zero for step t, with no gradient. Not with ``batch_sizes``. None for
            nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or the nonlinearity is unknown.
    """
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', found {nonlinearity!r}")
    x, h0 = as_activation(x, values), None if h0 is None else as_activation(h0, values)
    x, w_input, _ = multiplied(x, w_input)
    options = batch_sizes, ACTIVATIONS[nonlinearity], resets
    return _rnn(x, w_input, h0, bias, values, [*pattern], *options)


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
    resets: Tensor | None = None,
) -> Tensor:
    """Compute :func:`rnn` in plain torch, as its reference implementation."""
    weight = pattern.dense(values)
    z = x if w_input is None else x @ w_input.T
    h = z.new_zeros(batch_of(z, batch_sizes), weight.shape[0]) if h0 is None else h0
    step = partial(rnn_step, nonlinearity=nonlinearity)
    parts = batch_sizes, resets
    return run_steps(step, lambda h: h @ weight.T, z if bias is None else z + bias, (h,), *parts)[0]


def rnn_step(
    v: Tensor, product: Product, state: tuple[Tensor, ...], *, nonlinearity: str
) -> tuple[Tensor, ...]:
    """Compute one time step in plain torch: ``product(h)`` is ``h @ W.T``."""
    return (getattr(torch, nonlinearity)(v + product(state[0])),)


_rnn = sequence_operation("rnn", lambda shapes: shapes.every_step(shapes.rows))
