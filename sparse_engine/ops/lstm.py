"""The LSTM over a whole sequence, in one operation each way."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation, as_sum, unfolded
from sparse_engine.ops._native import saves_for_backward
from sparse_engine.ops._sequence import (
    Product,
    batch_of,
    finite,
    joined,
    multiplied,
    run_steps,
    steps_of,
)
from sparse_engine.ops._sequence_operation import sequence_operation
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
    projection: tuple[Tensor, Pattern] | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run an LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    With ``i, f, g, o = (x[t] @ w_input.T + bias + h[t - 1] @ W.T).chunk(4, -1)``, for every t::

        c[t] = (sigmoid(f) * c[t - 1] + sigmoid(i) * tanh(g)).clamp(-cell_clip, cell_clip)
        h[t] = (sigmoid(o) * tanh(c[t])) @ W_p.T

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``c`` and
    the four gates are kept for the backward pass, and without autograd not even these.

    With float32 values on the CPU, x and h0 may be bfloat16, and become it under
    ``torch.autocast("cpu", torch.bfloat16)``: every h, du and what is kept is rounded to within
    2^-8 of itself (a gate above 1/2 to within 2^-8 of its distance from 1), but c is carried from
    step to step in float32. So are c0, the last c and their gradients; products and sums are taken
    in float32, and so are the gradients of the parameters. On a CUDA device, all is float32.

    Args:
        x: float32 or float64 ``[steps, batch, inputs]``; without ``w_input`` the input's
            contribution to each gate itself, ``[steps, batch, 4 * hidden]``.
        h0: ``[batch, hidden]`` (all of h has ``outputs`` features with a projection), or None for
            zeros.
        c0: ``[batch, hidden]``, or None for zeros; give both or neither.
        bias: ``[4 * hidden]``, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``4 * hidden x outputs``: a block of rows for each gate.
        w_input: dense ``[4 * hidden, inputs]``, or None. Meant for few inputs: it is read again at
            every step.
        batch_sizes: int64 on the CPU, for sequences of different lengths, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.
        projection: values and pattern of W_p, ``outputs x hidden`` (Sak et al. 2014); None is the
            identity, and ``outputs = hidden``.
        cell_clip: at least 0; the gradient of a clipped c is 0. By default nothing is clipped.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` and ``c[t - 1]`` are zero for step t, with no gradient. Not with
            ``batch_sizes``. None for nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, outputs]``, and the last ``c``, ``[batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, or a negative clip.
    """
    return lstm_and_saved(
        x,
        h0,
        c0,
        bias,
        values,
        pattern,
        w_input=w_input,
        batch_sizes=batch_sizes,
        projection=projection,
        cell_clip=cell_clip,
        resets=resets,
    )[:2]


def lstm_and_saved(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    projection: tuple[Tensor, Pattern] | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what :func:`lstm` returns, and what is saved, which :func:`unprojected` takes."""
    if cell_clip is not None and not cell_clip >= 0:
        raise ValueError(f"expected cell_clip of at least 0, found {cell_clip}")
    p_values, p_pattern = (None, ()) if projection is None else projection
    if x.device.type == "cpu":
        x, h0 = as_activation(x, values), None if h0 is None else as_activation(h0, values)
    c0 = None if c0 is None else as_sum(c0, values)
    links = values, [*pattern, *p_pattern], p_values
    options = batch_sizes, finite(cell_clip), saves_for_backward(), resets
    x, w_input, _ = multiplied(x, w_input)
    return _lstm(x, w_input, None, h0, c0, bias, *links, *options)


def unprojected(saved: Tensor, batch_sizes: Tensor | None) -> Tensor:
    """Return ``sigmoid(o) * tanh(c)`` of all steps, from what was saved for the backward pass."""
    kept = [step.reshape(-1, 5, len(step)) for step in steps_of(saved, batch_sizes)]
    outputs = [unfolded(each[:, 3]) * each[:, 4].tanh() for each in kept]
    return joined([each.T for each in outputs], batch_sizes)


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
    projection: tuple[Tensor, Pattern] | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute :func:`lstm` in plain torch, as its reference implementation."""
    weight = pattern.dense(values)
    project = None if projection is None else projection[1].dense(projection[0])
    v, batch = x if w_input is None else x @ w_input.T, batch_of(x, batch_sizes)
    h = x.new_zeros(batch, weight.shape[1]) if h0 is None else h0
    c = x.new_zeros(batch, weight.shape[0] // 4) if c0 is None else c0
    step = partial(
        lstm_step,
        project=None if project is None else lambda h: h @ project.T,
        cell_clip=cell_clip,
    )
    v = v if bias is None else v + bias
    h, _, c = run_steps(step, lambda h: h @ weight.T, v, (h, c), batch_sizes, resets)
    return h, c


def lstm_step(
    v: Tensor,
    product: Product,
    state: tuple[Tensor, ...],
    *,
    project: Product | None = None,
    c_norm: Any = None,
    cell_clip: float | None = None,
) -> tuple[Tensor, ...]:
    """Compute one time step in plain torch: ``product(h)`` is ``h @ W.T``."""
    h, c = state
    i, f, g, o = (v + product(h)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    c = c if cell_clip is None else c.clamp(-cell_clip, cell_clip)
    h = torch.sigmoid(o) * torch.tanh(c if c_norm is None else c_norm(c))
    return (h if project is None else project(h)), c


_lstm = sequence_operation(
    "lstm",
    lambda shapes: (
        shapes.every_step(shapes.outputs),
        shapes.last_step(shapes.hidden),
        shapes.kept(5 * shapes.hidden),
    ),
)
