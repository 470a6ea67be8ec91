"""The liquid time-constant recurrence over a whole sequence, in one operation each way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._autocast import as_activation, as_sum
from sparse_engine.ops._sequence import run_steps
from sparse_engine.ops._sequence_operation import sequence_operation, states_and_final
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
    resets: Tensor | None = None,
) -> Tensor:
    """Run liquid time-constant networks (Hasani et al. 2021) with their semi-implicit solver.

    From ``v = h[t - 1]``, each step repeats ``unfolds`` times::

        i, g = conductance(v, synapses, pattern)
        v = (cm * v + current[t] + i) / (cm + conductance[t] + g)

    and ``h[t]`` is the last ``v``. Differentiable once, in all tensors of real numbers. Beside its
    arguments, only ``h`` is kept for the backward pass, which repeats the unfolds of each step.

    With float32 parameters on the CPU, current and conductance may be bfloat16, and become it under
    ``torch.autocast("cpu", torch.bfloat16)``: they, every ``h[t]`` and their gradients are rounded
    to within 2^-8 of themselves, and what is kept takes half the memory. It takes as long, as the
    logistic functions do: they and the potentials, from h0 on, are float32. The gradient of cm is
    the sum of ``n * (v' - v)`` over all unfolds, and one from a rounded ``v`` is known to within
    2^-8 of ``v``: less exact where potentials hardly change. On a CUDA device, all is float32.

    Args:
        current: float32 or float64 ``[steps, batch, hidden]``, of the input and the leak.
        conductance: the same, of the input and the leak.
        h0: ``[batch, hidden]``, or None for zeros.
        cm: ``[hidden]``, capacitance over the time of one unfold.
        synapses: the parameters of the links.
        pattern: the links, ``hidden x hidden``.
        unfolds: number of solver steps of each time step, at least 1.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` is zero for step t, with no gradient. None for nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step or unfold.
    """
    options: dict[str, Any] = {"unfolds": unfolds, "resets": resets}
    return ltc_and_final(current, conductance, h0, cm, synapses, pattern, **options)[0]


def ltc_and_final(
    current: Tensor,
    conductance: Tensor,
    h0: Tensor | None,
    cm: Tensor,
    synapses: Synapses,
    pattern: Pattern,
    *,
    unfolds: int = 6,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return :func:`ltc`, and the potentials after the last step, which are not rounded."""
    if current.device.type == "cpu":
        current, conductance = (as_activation(each, cm) for each in (current, conductance))
    h0 = None if h0 is None else as_sum(h0, cm)
    h, h_n = _ltc(current, conductance, h0, cm, *synapses, [*pattern], unfolds, resets)
    return h, h_n if h.dtype != cm.dtype else h[-1]


def ltc_ref(
    current: Tensor,
    conductance: Tensor,
    h0: Tensor | None,
    cm: Tensor,
    synapses: Synapses,
    pattern: Pattern,
    *,
    unfolds: int = 6,
    resets: Tensor | None = None,
) -> Tensor:
    """Compute :func:`ltc` in plain torch, as its reference implementation."""
    start = current.new_zeros(current.shape[1:]) if h0 is None else h0
    sums = torch.cat([current, conductance], -1)

    def product(v: Tensor) -> tuple[Tensor, Tensor]:
        return synapses.dense_sums(v, pattern)

    step = partial(ltc_step, cm=cm, unfolds=unfolds)
    return run_steps(step, product, sums, (start,), None, resets)[0]


def ltc_step(
    sums: Tensor, product: Callable[..., Any], state: tuple[Tensor, ...], cm: Tensor, unfolds: int
) -> tuple[Tensor, ...]:
    """Compute one time step in plain torch.

    Args:
        sums: current and conductance of the input and the leak, one behind the other.
        product: returns the current and the conductance of synapses from potentials.
        state: the potentials before.
        cm: capacitances over the time of one unfold.
        unfolds: number of solver steps.
    """
    (v,), (current, conductance) = state, sums.chunk(2, -1)
    for _ in range(unfolds):
        i, g = product(v)
        v = (cm * v + current + i) / (cm + conductance + g)
    return (v,)


_ltc = sequence_operation("ltc", states_and_final)
