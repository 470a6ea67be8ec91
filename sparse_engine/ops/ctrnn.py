"""Continuous-time recurrent networks over a whole sequence, in one operation each way."""

from __future__ import annotations

from torch import Tensor

from sparse_engine.ops.continuous import ContinuousOperation, Function, Method
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.solver import Solver


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
    resets: Tensor | None = None,
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
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` is zero for step t, with no gradient. None for nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, or a number is out of
            its range.
    """
    method: Method = {"rate": rate, "unfolds": unfolds, "solver": solver, "clip": clip}
    method["resets"] = resets
    return ctrnn_and_final(x, h0, dt, values, pattern, **method)[0]


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
    resets: Tensor | None = None,
) -> Tensor:
    """Compute :func:`ctrnn` in plain torch, as its reference implementation."""
    method: Method = {"rate": rate, "unfolds": unfolds, "solver": solver, "clip": clip}
    method["resets"] = resets
    return ctrnn_and_final.reference(x, h0, dt, values, pattern, **method)


def _field(product: Function, f: Function, x: Tensor, h: Tensor, rate: Tensor | None) -> Tensor:
    k = f(x + product(h))
    return k if rate is None else k - rate * h


ctrnn_and_final = ContinuousOperation("ctrnn", _field)
