"""The ordered-neurons LSTM over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation, as_sum
from sparse_engine.ops._native import saves_for_backward
from sparse_engine.ops._sequence import Product, run_steps
from sparse_engine.ops._sequence_operation import sequence_operation
from sparse_engine.ops.pattern import Pattern


def on_lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run an ordered-neurons LSTM (Shen et al. 2019), whose master gates order its units.

    Units come in chunks of neighbours. With ``u = x[t] + bias + h[t - 1] @ W.T`` cut into
    ``mi, mf, o, g, i, f``, the first two of as many features as there are chunks, for every t::

        master_i = 1 - cumsum(softmax(mi)), master_f = cumsum(softmax(mf)), each repeated over
        its chunk, and both = master_i * master_f
        c[t] = (sigmoid(f) * both + master_f - both) * c[t - 1]
             + (sigmoid(i) * both + master_i - both) * tanh(g)
        h[t] = sigmoid(o) * tanh(c[t])

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``c``,
    the four gates and both softmaxes are kept for the backward pass, and without autograd not even
    these.

    With float32 values on the CPU, x and h0 may be bfloat16, and become it under
    ``torch.autocast("cpu", torch.bfloat16)``: every h, du and what is kept is rounded to within
    2^-8 of itself (a gate above 1/2 to within 2^-8 of its distance from 1), but c is carried from
    step to step in float32. So are c0, the last c and their gradients; products and sums are taken
    in float32, and so are the gradients of the parameters. On a CUDA device, all is float32.

    Args:
        x: float32 or float64 ``[steps, batch, rows]``, ``rows = 2 * chunks + 4 * hidden``: the
            input's contribution to each gate.
        h0: ``[batch, hidden]``, or None for zeros.
        c0: the same; give both or neither.
        bias: ``[rows]``, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``rows x hidden``; its shape tells the number of chunks.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` and ``c[t - 1]`` are zero for step t, with no gradient. None for nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``, and the last ``c``, ``[batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step.
    """
    if x.device.type == "cpu":
        x, h0 = as_activation(x, values), None if h0 is None else as_activation(h0, values)
    c0 = None if c0 is None else as_sum(c0, values)
    h, c_n, *_ = _on_lstm(x, h0, c0, bias, values, [*pattern], saves_for_backward(), resets)
    return h, c_n


def on_lstm_ref(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute :func:`on_lstm` in plain torch, as its reference implementation."""
    weight = pattern.dense(values)
    zeros = x.new_zeros(x.shape[1], weight.shape[1])
    start = zeros if h0 is None else h0, zeros if c0 is None else c0
    v = x if bias is None else x + bias
    h, _, c = run_steps(on_lstm_step, lambda h: h @ weight.T, v, start, None, resets)
    return h, c


def on_lstm_step(v: Tensor, product: Product, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Compute one time step in plain torch: ``product(h)`` is ``h @ W.T``."""
    h, c = state
    hidden = c.shape[-1]
    chunks = (v.shape[-1] - 4 * hidden) // 2
    mi, mf, o, g, i, f = (v + product(h)).split([chunks] * 2 + [hidden] * 4, -1)
    master_i, master_f = (
        each.softmax(-1).cumsum(-1).repeat_interleave(hidden // chunks, -1) for each in (mi, mf)
    )
    master_i = 1 - master_i
    both = master_i * master_f
    forget = torch.sigmoid(f) * both + (master_f - both)
    c = forget * c + (torch.sigmoid(i) * both + (master_i - both)) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


_on_lstm = sequence_operation(
    "on_lstm",
    lambda shapes: (
        shapes.every_step(shapes.hidden),
        shapes.last_step(shapes.hidden),
        shapes.kept(shapes.hidden),
        shapes.kept(shapes.rows),
    ),
)
