"""Differential equations of units with links, over whole sequences.

:mod:`sparse_engine.ops` describes what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from sparse_engine.ops._autocast import activations, as_sum
from sparse_engine.ops._dispatch.sequence import sequence_operation, states_and_final
from sparse_engine.ops._sequence import Product, States, check_one_of, finite, sequence_of
from sparse_engine.ops.pattern import Pattern


class Solver:
    """Fixed-step method for ``dh/ds = f(h)``, each stage of which needs only the stage before.

    ``k[i] = f(h + nodes[i] * dt * k[i - 1])``, then ``h + dt * sum(weights[i] * k[i])``: the
    classical methods up to order four have this form. A subclass states the two::

        class Midpoint(Solver):
            nodes = (0.0, 0.5)
            weights = (0.0, 1.0)

    Attributes:
        nodes: one number for each stage; the first is 0.
        weights: one weight for each node.
    """

    nodes: ClassVar[tuple[float, ...]]
    weights: ClassVar[tuple[float, ...]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Euler(Solver):
    """The explicit Euler method, of order one: ``h + dt * f(h)``.

    Example:
        >>> network = SparseNeuralODE(3, 64, density=0.1, solver=Euler(), unfolds=4)
    """

    nodes = (0.0,)
    weights = (1.0,)


class RK4(Solver):
    """The classical Runge-Kutta method, of order four.

    Example:
        >>> network = SparseNeuralODE(3, 64, density=0.1, solver=RK4())
    """

    nodes = (0.0, 1 / 2, 1 / 2, 1.0)
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


#: The activations by name, in the order in which the native operations number them.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": lambda x: -functional.logsigmoid(-x),  # torch's own is linear from 20 on
    "sigmoid": torch.sigmoid,
}
CODES = {name: code for code, name in enumerate(FUNCTIONS)}

_ctrnn, _rate_rnn = (sequence_operation(name, states_and_final) for name in ("ctrnn", "rate_rnn"))


def integrated(
    field: Callable[..., Tensor],
    x: Tensor,
    product: Product,
    state: States,
    *,
    dt: Tensor,
    rate: Tensor | None = None,
    nonlinearity: str = "tanh",
    unfolds: int = 1,
    solver: Solver | None = None,
    clip: float | None = None,
) -> States:
    """Compute one time step: ``field(product, f, x, state, rate)`` is the derivative of a state."""
    solver, (h,) = Euler() if solver is None else solver, state
    for _ in range(unfolds):
        k, end = torch.zeros_like(h), h
        for node, weight in zip(solver.nodes, solver.weights, strict=True):
            at = h + node * dt * k
            k = field(product, FUNCTIONS[nonlinearity], x, at, rate)
            end = end + weight * dt * k
        h = end
        if clip is not None:
            h = torch.where(end.abs() < clip, end, end.detach().clamp(-clip, clip))
    return (h,)


def _of_ctrnn(product: Product, f: Any, x: Tensor, h: Tensor, rate: Tensor | None) -> Tensor:
    k = f(x + product(h))
    return k if rate is None else k - rate * h


def _of_rates(product: Product, f: Any, x: Tensor, v: Tensor, rate: Tensor | None) -> Tensor:
    return (0 if rate is None else rate) * (x - v + product(f(v)))


@sequence_of(partial(integrated, _of_ctrnn))
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
) -> tuple[Any, ...]:
    """Integrate ``dh/ds = -rate * h + tanh(x[t] + h @ W.T)``, with ``x[t]`` held during step t.

    ``h[t]`` is ``h[t - 1]`` (at first ``h0``) after ``unfolds`` steps of the solver, of length
    ``dt[t]`` each. With Euler's method an unfold is, and every other method is made of,
    ``h + dt[t] * (-rate * h + tanh(x[t] + h @ W.T))``. The network is that of Funahashi & Nakamura
    (1993), or without a rate the field of a neural ODE (Chen et al. 2018).

    Gradients are exact, through every stage of every unfold. Beside its arguments, only ``h`` is
    kept for the backward pass, which computes each step's stages once more: a third more work,
    where keeping them would take ``2 * unfolds * stages`` times the memory of ``h``.

    With bfloat16, x, what products read of a state, its gradient there, every ``h[t]`` and ``clip``
    are rounded. The state goes from unfold to unfold and from step to step in float32, and so do
    its gradients: steps of the solver of less than a rounding add up. A state counts as at the
    limit when its rounding is.

    Args:
        x: ``[steps, batch, hidden]``, the input's contribution and the bias.
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
        resets: where episodes begin.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, or a number is out of
            its range.

    Example:
        >>> dt = torch.full((5, 2), 0.1)
        >>> states = ctrnn(torch.ones(5, 2, 6), None, dt, weight.values, weight.pattern)[0]
        >>> states.shape
        torch.Size([2, 6])
    """
    equation = x, h0, dt, rate, values, pattern
    return _solved(_ctrnn, "tanh", *equation, solver, unfolds, clip, resets)


@sequence_of(partial(integrated, _of_rates))
def rate_rnn(
    x: Tensor,
    h0: Tensor | None,
    dt: Tensor,
    values: Tensor,
    pattern: Pattern,
    *,
    rate: Tensor | None = None,
    nonlinearity: str = "tanh",
    unfolds: int = 1,
    solver: Solver | None = None,
    clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Integrate ``dv/ds = rate * (x[t] - v + f(v) @ W.T)``, with ``x[t]`` held during step t.

    The potential form of a network of firing rates ``f(v)``, where f, the ``nonlinearity``, is
    "tanh", "relu", "softplus" or "sigmoid". Steps, derivatives, bfloat16, the other arguments and
    the errors are those of :func:`ctrnn`, with potentials v for its h.

    Returns:
        ``v`` of shape ``[steps, batch, hidden]``.

    Example:
        >>> dt = torch.full((5, 2), 0.1)
        >>> states = rate_rnn(torch.ones(5, 2, 6), None, dt, weight.values, weight.pattern)[0]
        >>> states.shape
        torch.Size([2, 6])
    """
    check_one_of(FUNCTIONS, "nonlinearity", nonlinearity)
    equation = x, h0, dt, rate, values, pattern
    return _solved(_rate_rnn, nonlinearity, *equation, solver, unfolds, clip, resets)


def _solved(
    run: Any, nonlinearity: str, x: Tensor, h0: Tensor | None, dt: Tensor, rate: Tensor | None,
    values: Tensor, pattern: Pattern, solver: Solver | None, unfolds: int, clip: float | None,
    resets: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the states of all steps, and the last one, not rounded."""
    solver = Euler() if solver is None else solver
    (x,) = activations(values, x)
    h0 = None if h0 is None else as_sum(h0, values)
    method = solver.nodes, solver.weights, unfolds, finite(clip), CODES[nonlinearity]
    h, h_n = run(x, h0, dt, rate, values, [*pattern], *method, resets)
    return h, h_n if h.dtype != values.dtype else h[-1]
