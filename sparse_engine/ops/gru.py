"""The GRU over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._reset_gated import ResetGated
from sparse_engine.ops._sequence import Product
from sparse_engine.ops.pattern import Pattern


def step(v: Tensor, product: Product, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Compute one time step in plain torch: ``product(h)`` is ``h @ W.T + bias``."""
    (h,) = state
    (v_r, v_z, v_n), (u_r, u_z, u_n) = v.chunk(3, -1), product(h).chunk(3, -1)
    r, z = torch.sigmoid(v_r + u_r), torch.sigmoid(v_z + u_z)
    return ((1 - z) * torch.tanh(v_n + r * u_n) + z * h,)


GRU = ResetGated("gru", 4, step)
gru_ref = GRU.reference


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
    resets: Tensor | None = None,
) -> Tensor:
    """Run gated recurrent units (Cho et al. 2014), with the reset gate of :class:`torch.nn.GRU`.

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
        batch_sizes: int64 on the CPU, for sequences of different lengths, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` is zero for step t, with no gradient. Not with ``batch_sizes``. None for
            nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step.
    """
    weights = {"w_input": w_input, "b_input": b_input}
    options = {"batch_sizes": batch_sizes, "resets": resets}
    return GRU(x, h0, bias, values, pattern, **weights, **options)[0]
