"""The minimal gated unit over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._reset_gated import ResetGated
from sparse_engine.ops._sequence import Product
from sparse_engine.ops.pattern import Pattern


def step(v: Tensor, product: Product, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Compute one time step in plain torch: ``product(h)`` is ``h @ W.T + bias``."""
    (h,) = state
    (v_f, v_n), (u_f, u_n) = v.chunk(2, -1), product(h).chunk(2, -1)
    f = torch.sigmoid(v_f + u_f)
    return (torch.lerp(h, torch.tanh(v_n + f * u_n), f),)


MGU = ResetGated("mgu", 3, step)
mgu_ref = MGU.reference


def mgu(
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
    """Run minimal gated units (Zhou et al. 2016, arXiv 1603.09420) over whole sequences.

    With ``v_f, v_n = (x[t] @ w_input.T + b_input).chunk(2, -1)`` and
    ``u_f, u_n = (bias + h[t - 1] @ W.T).chunk(2, -1)``, for every t::

        f = sigmoid(v_f + u_f)
        h[t] = (1 - f) * h[t - 1] + f * tanh(v_n + f * u_n)

    The paper multiplies the state by f, ``(f * h[t - 1]) @ W_n.T``, and so has to wait for all of f
    before its second product. Here f multiplies the product, with its bias, as the reset gate of
    :class:`torch.nn.GRU` does, and one product of the state before is enough.

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``f``,
    the candidate and ``u_n`` are kept for the backward pass, and without autograd only ``h``.
    bfloat16 is as for :func:`sparse_engine.ops.gru`.

    Args:
        x: float32 or float64 ``[steps, batch, inputs]``; without ``w_input`` the input's
            contribution itself, ``[steps, batch, 2 * hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[2 * hidden]``, the bias of the recurrent product, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``2 * hidden x hidden``: the rows of f, and of the candidate.
        w_input: dense ``[2 * hidden, inputs]``, or None.
        b_input: ``[2 * hidden]``, the bias of the input's contribution, or None.
        batch_sizes: int64 on the CPU, for sequences of different lengths, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it; every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``.
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
    return MGU(x, h0, bias, values, pattern, **weights, **options)[0]
