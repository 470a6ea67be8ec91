"""Cells with a native kernel, and the factors that it captures for growth by gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.nn.cell import Cell, Layer, multiply
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight

State = tuple[Tensor | None, ...]


def captures(weight: SparseWeight) -> bool:
    """Whether this use of a weight has to capture its factors."""
    return weight.captured is not None and torch.is_grad_enabled()


@torch.compiler.disable
def outside_graphs(run: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
    """Call a function outside compiled graphs, which have no gradients of their parts for hooks."""
    return run(*arguments, **given)


def _capture(
    weight: SparseWeight,
    h: Tensor,
    h0: Tensor | None,
    sequence: Sequence,
    to_product: Callable[[Tensor], Tensor] | None,
    dx: Tensor,
) -> None:
    """Capture the factors of a recurrent weight: gradients of its products, and states before.

    ``h`` are the states of all steps, ``dx`` is the gradient of ``W_ih x``, and ``to_product``
    computes that of ``W_hh h`` from it, unless the two are equal.
    """
    du = dx if to_product is None else to_product(dx)
    weight.capture(sequence.before_later(h), sequence.later(du))
    if h0 is not None:
        first = du[0] if sequence.batch_sizes is None else du[: sequence.batch]
        weight.capture(sequence.at_first(h0), first)


class KernelCell(Cell):
    """Cell with an ``operation``, which multiplies by one recurrent weight and has the step."""

    layer_norm = False
    bf16_devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def step(
        self, v: Tensor, product: Callable[..., Any], state: tuple[Tensor, ...], **given: Any
    ) -> tuple[Tensor, ...]:
        """Compute one time step."""
        return self.operation.step(v, product, state, **given)

    def kernel_options(self, layer: Layer) -> dict[str, Any]:
        """Return the options of the operation, by name; here those of its step."""
        return self.arguments(layer)

    def run(self, layer: Layer, sequence: Sequence, state: State) -> tuple[Tensor, ...]:
        """Multiply by the input weight, unless the time loop does that, and call the kernel."""
        if self.layer_norm:
            return self.run_normed(layer, sequence, state)
        weight, weight_ih, x = layer["weight_hh"], layer["weight_ih"], sequence.x
        b_input, bias = self.biases(layer)
        options = self.kernel_options(layer)
        if (
            isinstance(weight_ih, SparseWeight)
            or weight_ih.shape[1] > self.most_fused_inputs
            or captures(weight)
            or (sequence.batch_sizes is None and x.shape[1] == 1)
        ):
            x = multiply(weight_ih, x, b_input)
        else:
            options["w_input"] = weight_ih
            if b_input is not None:
                options["b_input"] = b_input
        if sequence.batch_sizes is not None:
            options["batch_sizes"] = sequence.batch_sizes
        if captures(weight) and not x.requires_grad:
            x = x.detach().requires_grad_()
        outputs, *others, saved = self.operation.full(
            x, *state, bias, weight.values, weight.pattern, resets=sequence.resets, **options
        )
        if captures(weight):
            to_product = self.gradient_of_product(saved, sequence)
            given = weight, outputs.detach(), state[0], sequence, to_product
            x.register_hook(partial(_capture, *given))
        return outputs, sequence.last(outputs), *others

    def run_normed(self, layer: Layer, sequence: Sequence, state: State) -> tuple[Tensor, ...]:
        """Run one layer of a cell that has ``layer_norm``, with it."""
        raise NotImplementedError

    def gradient_of_product(
        self, saved: Tensor | None, sequence: Sequence
    ) -> Callable[[Tensor], Tensor] | None:
        """Return the function from the gradient of ``W_ih x`` to that of ``W_hh h``, or None."""
        return None
