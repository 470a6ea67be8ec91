"""The Elman recurrence with layer normalisation over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sparse_engine.ops._fake import fake
from sparse_engine.ops._gradients import where_needed
from sparse_engine.ops._native import (
    call,
    differentiable,
    keeps,
    native,
    refuse_second_derivative,
)
from sparse_engine.ops._sequence import batch_of, joined, steps_of
from sparse_engine.ops.norm import Norm
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.rnn import ACTIVATIONS


def normed_rnn(
    x: Tensor,
    h0: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    norm: Norm,
    *,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """``h[t] = act(x[t] + norm(h[t - 1] @ W.T))`` for every t, ``h[-1] = h0`` (Ba et al. 2016).

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h`` and what
    ``norm`` multiplies by its gain are kept for the backward pass, with one number more per column;
    without autograd only ``h``. On the CPU; :func:`normed_rnn_by` runs on any device.

    Args:
        x: float32 or float64 ``[steps, batch, hidden]``: the input's contribution.
        h0: ``[batch, hidden]``, or None for zeros.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight W.
        norm: over the ``hidden`` features of ``h[t - 1] @ W.T``.
        nonlinearity: ``"tanh"`` or ``"relu"``, as in :class:`torch.nn.RNN`.
        batch_sizes: for sequences of different lengths, int64 on the CPU, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, a negative eps, or an
            unknown nonlinearity.
    """
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', found {nonlinearity!r}")
    gain, bias, eps = norm
    structure = (*pattern, batch_sizes, eps, ACTIVATIONS[nonlinearity])
    return _normed_rnn(x, h0, gain, bias, values, *structure, keeps())[0]


def normed_rnn_by(
    multiply: Callable[[Tensor], Tensor],
    x: Tensor,
    h0: Tensor | None,
    norm: Norm,
    *,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """:func:`normed_rnn` in plain torch: ``multiply(h)`` is ``h @ W.T``, once for every step."""
    h = x.new_zeros(batch_of(x, batch_sizes), x.shape[-1]) if h0 is None else h0
    states = []
    for step in steps_of(x, batch_sizes):
        h = getattr(torch, nonlinearity)(step + norm(multiply(h[: len(step)])))
        states.append(h)
    return joined(states, batch_sizes)


def normed_rnn_ref(
    x: Tensor,
    h0: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    norm: Norm,
    *,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """The slow twin of :func:`normed_rnn` in plain torch."""
    options = {"nonlinearity": nonlinearity, "batch_sizes": batch_sizes}
    weight = pattern.dense(values)
    return normed_rnn_by(lambda h: h @ weight.T, x, h0, norm, **options)


@fake("normed_rnn_forward")
def _(x, h0, gain, bias, values, *structure_and_options):
    *_, keep = structure_and_options
    kept = x.shape[0] if keep else 0
    return (
        x.new_empty(x.shape),
        x.new_empty(kept, *x.shape[1:]),
        x.new_empty(kept, *x.shape[1:-1], 1),
    )


@fake("normed_rnn_backward")
def _(dh, h, saved, moments, h0, gain, values, *structure_and_options):
    *_, wants_x, wants_values = structure_and_options
    hidden = h.shape[-1]
    return (
        h.new_empty(h.shape[0] if wants_x else 0, *h.shape[1:]),
        h.new_empty(0 if h0 is None else h0.shape[0], hidden),
        h.new_empty(hidden),
        h.new_empty(hidden),
        h.new_empty(values.shape if wants_values else 0),
    )


def _save(ctx, inputs, output):
    _, h0, gain, _, values, *structure, _, ctx.activation, _ = inputs
    h, saved, moments = output
    ctx.mark_non_differentiable(saved, moments)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(h, saved, moments, h0, gain, values, *structure)


def _backward(ctx, dh, *_):
    h, *kept_and_arguments = ctx.saved_tensors
    needs_x, _, _, _, needs_values, *_ = ctx.needs_input_grad
    gradients = call(
        native.normed_rnn_backward.default,
        torch.zeros_like(h) if dh is None else dh,
        h,
        *kept_and_arguments,
        ctx.activation,
        needs_x,
        needs_values,
    )
    return where_needed(ctx, *gradients)


_normed_rnn = differentiable(native.normed_rnn_forward.default, save=_save, backward=_backward)
refuse_second_derivative(native.normed_rnn_backward.default, "normed_rnn_ref")
