"""The GRU over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation, unfolded
from sparse_engine.ops._native import saves_for_backward
from sparse_engine.ops._sequence import batch_of, joined, steps_of
from sparse_engine.ops._sequence_operation import sequence_operation
from sparse_engine.ops.pattern import Pattern


def gru(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    b_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """Gated recurrent units (Cho et al. 2014), the reset gate where :class:`torch.nn.GRU` has it.

    With ``v_r, v_z, v_n = (x[t] @ w_input.T + b_input).chunk(3, -1)`` and
    ``u_r, u_z, u_n = (bias + h[t - 1] @ W.T).chunk(3, -1)``, for every t::

        r, z = sigmoid(v_r + u_r), sigmoid(v_z + u_z)
        h[t] = (1 - z) * tanh(v_n + r * u_n) + z * h[t - 1]

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``r``,
    ``z``, the candidate and ``u_n`` are kept for the backward pass, and without autograd not even
    these.

    With float32 values on the CPU, x and h0 may be bfloat16, and become it under
    ``torch.autocast("cpu", torch.bfloat16)``: every h, du, dv and what is kept is rounded to within
    2^-8 of itself (a gate above 1/2 to within 2^-8 of its distance from 1), but ``z * h[t - 1]``
    is of an h that was not. Products and sums are taken in float32, and so are the gradients of the
    parameters. On a CUDA device, all is float32.

    Args:
        x: float32 or float64 ``[steps, batch, inputs]``; without ``w_input`` the input's
            contribution to each gate itself, ``[steps, batch, 3 * hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[3 * hidden]``, the bias of the recurrent product, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``3 * hidden x hidden``: a block of rows for each gate.
        w_input: dense ``[3 * hidden, inputs]``, or None. Meant for few inputs: it is read again at
            every step.
        b_input: ``[3 * hidden]``, the bias of the input's contribution, or None.
        batch_sizes: for sequences of different lengths, int64 on the CPU, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step.
    """
    options = {"w_input": w_input, "b_input": b_input, "batch_sizes": batch_sizes}
    return gru_and_saved(x, h0, bias, values, pattern, **options)[0]


def gru_and_saved(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    b_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`gru`, and what it keeps, of which :func:`reset_gates` tells the gates."""
    if b_input is not None and w_input is None:
        x, b_input = x + b_input, None
    if x.device.type == "cpu":
        x, h0 = as_activation(x, values), None if h0 is None else as_activation(h0, values)
    inputs = x, w_input, b_input, h0, None, bias
    h, _, saved = _gru(*inputs, values, [*pattern], None, batch_sizes, None, saves_for_backward())
    return h, saved


def reset_gates(saved: Tensor, batch_sizes: Tensor | None) -> Tensor:
    """Return ``r`` of all steps, of the shape of ``h``, from what was saved for the backward pass.

    The gradient of ``u_n`` is r times that of ``v_n``; the other two gates share theirs.
    """
    steps = steps_of(saved, batch_sizes)
    gates = [unfolded(step.reshape(-1, 4, len(step))[:, 0]).T for step in steps]
    return joined(gates, batch_sizes)


def gru_ref(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    b_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """Reference implementation of :func:`gru` in plain torch."""
    weight = pattern.dense(values)
    h = x.new_zeros(batch_of(x, batch_sizes), weight.shape[1]) if h0 is None else h0
    v = x if w_input is None else x @ w_input.T
    states = []
    for step in steps_of(v if b_input is None else v + b_input, batch_sizes):
        h = h[: len(step)]
        u = h @ weight.T if bias is None else h @ weight.T + bias
        (v_r, v_z, v_n), (u_r, u_z, u_n) = step.chunk(3, -1), u.chunk(3, -1)
        r, z = torch.sigmoid(v_r + u_r), torch.sigmoid(v_z + u_z)
        h = (1 - z) * torch.tanh(v_n + r * u_n) + z * h
        states.append(h)
    return joined(states, batch_sizes)


_gru = sequence_operation(
    "gru",
    lambda shapes: (
        shapes.every_step(shapes.outputs),
        shapes.nothing(),
        shapes.kept(4 * shapes.hidden),
    ),
)
