"""Cells with gates that carry nothing but h, and whose first gate resets the candidate.

It multiplies what the state contributes to the candidate, bias included, as the reset gate of
:class:`torch.nn.GRU` does.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sparse_engine.ops._autocast import as_activation, unfolded
from sparse_engine.ops._native import saves_for_backward
from sparse_engine.ops._sequence import (
    Product,
    batch_of,
    joined,
    multiplied,
    run_steps,
    steps_of,
)
from sparse_engine.ops._sequence_operation import sequence_operation
from sparse_engine.ops.pattern import Pattern

#: Computes one time step: ``step(v, product, (h,))`` returns the h after, as a tuple.
Step = Callable[[Tensor, Product, tuple[Tensor, ...]], tuple[Tensor, ...]]


class ResetGated:
    """Operation of such a cell: native, and in plain torch.

    Args:
        name: stem of the native operations ``<name>_forward`` and ``<name>_backward``.
        numbers: number of values that a unit saves at each step; the first is the gate.
        step: computes one time step in plain torch.
    """

    def __init__(self, name: str, numbers: int, step: Step) -> None:
        self._numbers = numbers
        self.step = step
        self._run = sequence_operation(
            name,
            lambda shapes: (
                shapes.every_step(shapes.hidden),
                shapes.nothing(),
                shapes.kept(numbers * shapes.hidden),
            ),
        )

    def __call__(
        self,
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
    ) -> tuple[Tensor, Tensor]:
        """Return the states of all steps, and what is saved for the backward pass."""
        if b_input is not None and w_input is None:
            x, b_input = x + b_input, None
        if x.device.type == "cpu":
            x, h0 = as_activation(x, values), None if h0 is None else as_activation(h0, values)
        weights = bias, values, [*pattern], None
        options = batch_sizes, None, saves_for_backward(), resets
        x, w_input, b_input = multiplied(x, w_input, b_input)
        h, _, saved = self._run(x, w_input, b_input, h0, None, *weights, *options)
        return h, saved

    def reset_gates(self, saved: Tensor, batch_sizes: Tensor | None) -> Tensor:
        """Return the first gate of all steps, of the shape of ``h``, from what was saved.

        The gradient of the candidate's recurrent contribution is that of its input's times this
        gate; all other gates share theirs.
        """
        steps = steps_of(saved, batch_sizes)
        gates = [unfolded(each.reshape(-1, self._numbers, len(each))[:, 0]).T for each in steps]
        return joined(gates, batch_sizes)

    def reference(
        self,
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
        """Return the states of all steps, in plain torch."""
        weight = pattern.dense(values)
        h = x.new_zeros(batch_of(x, batch_sizes), weight.shape[1]) if h0 is None else h0
        v = x if w_input is None else x @ w_input.T
        v = v if b_input is None else v + b_input

        def product(h: Tensor) -> Tensor:
            return h @ weight.T if bias is None else h @ weight.T + bias

        return run_steps(self.step, product, v, (h,), batch_sizes, resets)[0]
