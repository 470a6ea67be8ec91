"""Continuous-time recurrent networks over a whole sequence, in one operation each way."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation, as_sum
from sparse_engine.ops._sequence import finite
from sparse_engine.ops._sequence_operation import sequence_operation, states_and_final
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.solver import Euler, Solver


def ctrnn(
    x: Tensor,
    h0: Tensor | None,
    dt: Tensor,
    values: Tensor,
    pattern: Pattern,
    *,
    rate: Tensor | None = None,
    unfolds: int = 1,
    solver: Solver | None = None,
    clip: float | None = None,
) -> Tensor:
    """Integrate ``dh/ds = -rate * h + tanh(x[t] + h @ W.T)``, with ``x[t]`` held during step t.

    ``h[t]`` is ``h[t - 1]`` (at first ``h0``) after ``unfolds`` steps of the solver, of length
    ``dt[t]`` each. With Euler's method an unfold is, and every other method is made of,
    ``h + dt[t] * (-rate * h + tanh(x[t] + h @ W.T))``. The network is that of Funahashi & Nakamura
    (1993), or without a rate the field of a neural ODE (Chen et al. 2018).

    Differentiable once, in all tensors of real numbers: exactly, through every stage of every
    unfold. Beside its arguments, only ``h`` is kept for the backward pass, which computes each
    step's stages once more: a third more work, where keeping them would take ``2 * unfolds *
    stages`` times the memory of ``h``.

    With float32 values on the CPU, x may be bfloat16, and becomes it under
    ``torch.autocast("cpu", torch.bfloat16)``: x, what products read of a state, its gradient there,
    every ``h[t]`` and ``clip`` are rounded to within 2^-8 of themselves. The state goes from unfold
    to unfold and from step to step in float32, and so do its gradients: steps of the solver of less
    than that add up. h0, all other arguments and their gradients are float32. A state counts as at
    the limit when its rounding is. On a CUDA device, all is float32.

    Args:
        x: float32 or float64 ``[steps, batch, hidden]``, the input's contribution and the bias.
        h0: ``[batch, hidden]``, or None for zeros.
        dt: ``[steps, batch]``, finite and at least 0: the length of one unfold. On a CUDA device
            it is not checked, for which the host would have to wait.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight W.
        rate: ``[hidden]``, one over the time constants, or None for zeros.
        unfolds: steps of the solver for each x, at least 1.
        solver: Euler's method by default; of at most 16 stages on a CUDA device.
        clip: after each unfold h is clipped to ``[-clip, clip]``; None for no limit. No gradient
            passes a state at the limit.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or a number is out of its range.
    """
    return ctrnn_and_final(
        x, h0, dt, values, pattern, rate=rate, unfolds=unfolds, solver=solver, clip=clip
    )[0]


def ctrnn_and_final(
    x: Tensor,
    h0: Tensor | None,
    dt: Tensor,
    values: Tensor,
    pattern: Pattern,
    *,
    rate: Tensor | None = None,
    unfolds: int = 1,
    solver: Solver | None = None,
    clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return :func:`ctrnn`, and the state after the last step, which is not rounded."""
    solver = Euler() if solver is None else solver
    if x.device.type == "cpu":
        x = as_activation(x, values)
    h0 = None if h0 is None else as_sum(h0, values)
    method = solver.nodes, solver.weights, unfolds, finite(clip)
    h, h_n = _ctrnn(x, h0, dt, rate, values, [*pattern], *method)
    return h, h_n if h.dtype != values.dtype else h[-1]


def ctrnn_ref(
    x: Tensor,
    h0: Tensor | None,
    dt: Tensor,
    values: Tensor,
    pattern: Pattern,
    *,
    rate: Tensor | None = None,
    unfolds: int = 1,
    solver: Solver | None = None,
    clip: float | None = None,
) -> Tensor:
    """Reference implementation of :func:`ctrnn` in plain torch."""
    weight = pattern.dense(values)
    return integrate(
        lambda h: h @ weight.T,
        x,
        h0,
        dt,
        rate=rate,
        unfolds=unfolds,
        solver=Euler() if solver is None else solver,
        clip=clip,
    )


def integrate(
    product: Callable[[Tensor], Tensor],
    x: Tensor,
    h0: Tensor | None,
    dt: Tensor,
    *,
    rate: Tensor | None,
    unfolds: int,
    solver: Solver,
    clip: float | None,
) -> Tensor:
    """Compute :func:`ctrnn` step by step in plain torch; ``product(h)`` is ``h @ W.T``."""
    h = torch.zeros_like(x[0]) if h0 is None else h0
    states = []
    for held, length in zip(x, dt.unsqueeze(-1), strict=True):
        for _ in range(unfolds):
            k, end = torch.zeros_like(h), h
            for node, weight in zip(solver.nodes, solver.weights, strict=True):
                state = h + node * length * k
                k = torch.tanh(held + product(state))
                if rate is not None:
                    k = k - rate * state
                end = end + weight * length * k
            h = end
            if clip is not None:
                h = torch.where(end.abs() < clip, end, end.detach().clamp(-clip, clip))
        states.append(h)
    return torch.stack(states)


_ctrnn = sequence_operation("ctrnn", states_and_final)
