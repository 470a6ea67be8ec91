"""The liquid time-constant recurrence over a whole sequence, in one operation each way."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._gradients import where_needed
from sparse_engine.ops._native import call, differentiable, native, refuse_second_derivative
from sparse_engine.ops.conductance import Synapses
from sparse_engine.ops.pattern import Pattern


def ltc(
    current: Tensor,
    conductance: Tensor,
    h0: Tensor | None,
    cm: Tensor,
    synapses: Synapses,
    pattern: Pattern,
    *,
    unfolds: int = 6,
) -> Tensor:
    """Liquid time-constant networks (Hasani et al. 2021) with their semi-implicit solver.

    From ``v = h[t - 1]``, each step repeats ``unfolds`` times::

        i, g = conductance(v, synapses, pattern)
        v = (cm * v + current[t] + i) / (cm + conductance[t] + g)

    and ``h[t]`` is the last ``v``. Differentiable once, in all tensors of real numbers. Beside its
    arguments, only ``h`` is kept for the backward pass, which repeats the unfolds of each step.

    Args:
        current: float32 or float64 ``[steps, batch, hidden]``, of the input and the leak.
        conductance: the same, of the input and the leak.
        h0: ``[batch, hidden]``, or None for zeros.
        cm: ``[hidden]``, capacitance over the time of one unfold.
        synapses: the parameters of the links.
        pattern: the links, ``hidden x hidden``.
        unfolds: of each step, at least 1.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no unfold.
    """
    return _ltc(current, conductance, h0, cm, *synapses, *pattern, unfolds)


def ltc_ref(
    current: Tensor,
    conductance: Tensor,
    h0: Tensor | None,
    cm: Tensor,
    synapses: Synapses,
    pattern: Pattern,
    *,
    unfolds: int = 6,
) -> Tensor:
    """The slow twin of :func:`ltc` in plain torch."""
    v = current.new_zeros(current.shape[1:]) if h0 is None else h0
    states = []
    for drive, leak in zip(current, conductance, strict=True):
        for _ in range(unfolds):
            i, g = synapses.dense_sums(v, pattern)
            v = (cm * v + drive + i) / (cm + leak + g)
        states.append(v)
    return torch.stack(states)


@torch.library.register_fake("sparse_engine::ltc_forward")
def _(current, *others):
    return current.new_empty(current.shape)


@torch.library.register_fake("sparse_engine::ltc_backward")
def _(dh, h, current, conductance, h0, cm, values, *others):
    _, batch, hidden = h.shape
    return (
        h.new_empty(h.shape),
        h.new_empty(h.shape),
        h.new_empty(0 if h0 is None else batch, hidden),
        h.new_empty(hidden),
        *(values.new_empty(values.shape) for _ in range(4)),
    )


def _save(ctx, inputs, output):
    *arguments, unfolds = inputs
    ctx.save_for_backward(output, *arguments)
    ctx.unfolds = unfolds


def _backward(ctx, dh):
    h, current, conductance, h0, *arguments = ctx.saved_tensors
    dcurrent, dconductance, dh0, *gradients = call(
        native.ltc_backward.default, dh, h, current, conductance, h0, *arguments, ctx.unfolds
    )
    return where_needed(ctx, dcurrent, dconductance, dh0, *gradients)


_ltc = differentiable(native.ltc_forward.default, save=_save, backward=_backward)
refuse_second_derivative(native.ltc_backward.default, "ltc_ref")
