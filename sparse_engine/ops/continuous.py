"""Operations of networks in continuous time: their arguments, and the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import Unpack

from sparse_engine.ops._autocast import as_activation, as_sum
from sparse_engine.ops._sequence import finite, run_steps
from sparse_engine.ops._sequence_operation import sequence_operation, states_and_final
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.solver import Euler, Solver

Function = Callable[[Tensor], Tensor]

#: The activations by name, in the order in which the native operations number them.
FUNCTIONS: dict[str, Function] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": lambda x: -functional.logsigmoid(-x),  # torch's own is linear from 20 on
    "sigmoid": torch.sigmoid,
}
CODES = {name: code for code, name in enumerate(FUNCTIONS)}


class Method(TypedDict, total=False):
    """Arguments of an operation by name, those of :func:`sparse_engine.ops.ctrnn`."""

    rate: Tensor | None
    nonlinearity: str
    unfolds: int
    solver: Solver | None
    clip: float | None
    resets: Tensor | None


class ContinuousOperation:
    """A differential equation of units with links, over a whole sequence: native, and in torch.

    The arguments are those of :func:`sparse_engine.ops.ctrnn`.

    Args:
        name: stem of the native operations ``<name>_forward`` and ``<name>_backward``.
        field: ``field(product, f, x, state, rate)`` returns the derivative of a state in plain
            torch, where ``product(y)`` is ``y @ W.T``.
    """

    def __init__(self, name: str, field: Callable[..., Tensor]) -> None:
        self.field = field
        self._run = sequence_operation(name, states_and_final)

    def __call__(
        self,
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
    ) -> tuple[Tensor, Tensor]:
        """Return the states of all steps, and the last one, not rounded."""
        check_nonlinearity("nonlinearity", nonlinearity)
        solver = Euler() if solver is None else solver
        if x.device.type == "cpu":
            x = as_activation(x, values)
        h0 = None if h0 is None else as_sum(h0, values)
        method = solver.nodes, solver.weights, unfolds, finite(clip)
        options = CODES[nonlinearity], resets
        h, h_n = self._run(x, h0, dt, rate, values, [*pattern], *method, *options)
        return h, h_n if h.dtype != values.dtype else h[-1]

    def reference(
        self,
        x: Tensor,
        h0: Tensor | None,
        dt: Tensor,
        values: Tensor,
        pattern: Pattern,
        **method: Unpack[Method],
    ) -> Tensor:
        """Return the states of all steps, in plain torch."""
        weight, resets = pattern.dense(values), method.pop("resets", None)
        h = torch.zeros_like(x[0]) if h0 is None else h0
        options: dict[str, Any] = {**method}
        step, of_steps = partial(self.step, **options), {"dt": dt.unsqueeze(-1)}
        return run_steps(step, lambda y: y @ weight.T, x, (h,), None, resets, **of_steps)[0]

    def step(
        self,
        x: Tensor,
        product: Function,
        state: tuple[Tensor, ...],
        *,
        dt: Tensor,
        rate: Tensor | None = None,
        nonlinearity: str = "tanh",
        unfolds: int = 1,
        solver: Solver | None = None,
        clip: float | None = None,
    ) -> tuple[Tensor, ...]:
        """Compute one time step in plain torch: ``product(y)`` is ``y @ W.T``."""
        solver, (h,) = Euler() if solver is None else solver, state
        for _ in range(unfolds):
            k, end = torch.zeros_like(h), h
            for node, weight in zip(solver.nodes, solver.weights, strict=True):
                at = h + node * dt * k
                k = self.field(product, FUNCTIONS[nonlinearity], x, at, rate)
                end = end + weight * dt * k
            h = end
            if clip is not None:
                h = torch.where(end.abs() < clip, end, end.detach().clamp(-clip, clip))
        return (h,)


def check_nonlinearity(name: str, value: object) -> None:
    """Raise ValueError for what is no name of an activation."""
    if value not in [*FUNCTIONS]:
        raise ValueError(f"expected {name} one of {[*FUNCTIONS]}, found {value!r}")
