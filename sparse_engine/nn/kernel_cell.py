"""Cells with a native kernel that runs a whole sequence, and the factors that it captures.

Rules that grow links by gradient need the factors of the gradients of recurrent weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine.nn.cell import Cell, Layer, multiply
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight

State = tuple[Tensor | None, ...]

#: A use of a weight: the weight, what it multiplied, and the gradient of the product.
Use = tuple[SparseWeight, Tensor, Tensor]


def captures(weight: SparseWeight) -> bool:
    """Whether this use of a weight has to capture its factors."""
    return weight.captured is not None and torch.is_grad_enabled()


def any_captured(weights: Iterable[SparseWeight]) -> bool:
    """Whether factors of one of the weights are captured."""
    return any(weight.captured is not None for weight in weights)


@torch.compiler.disable
def outside_graphs(run: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
    """Call a function outside compiled graphs, which have no gradients of their parts for hooks."""
    return run(*arguments, **given)


def capture(x: Tensor, uses: Callable[[Tensor], Iterator[Use]]) -> None:
    """Capture ``uses(gradient of x)`` in the backward pass, when that gradient is known."""

    def hook(dx: Tensor) -> None:
        for weight, inputs, gradient in uses(dx):
            weight.capture(inputs, gradient)

    x.register_hook(hook)


def recurrence(
    weight: SparseWeight,
    h: Tensor,
    h0: Tensor | None,
    sequence: Sequence,
    to_product: Callable[[Tensor], Tensor] | None,
    dx: Tensor,
) -> Iterator[Use]:
    """Yield the uses of a recurrent weight: the gradient of each step with the state before it.

    Args:
        weight: the recurrent weight.
        h: all states ``[steps, batch, hidden]``, or ``[rows, hidden]`` of a packed sequence.
        h0: the first state; None for zeros.
        sequence: the input of the layer.
        to_product: computes the gradient of ``W_hh h`` from that of ``W_ih x``, unless they equal.
        dx: the gradient of ``W_ih x``.
    """
    du = dx if to_product is None else to_product(dx)
    yield weight, sequence.before_later(h), sequence.later(du)
    if h0 is not None:
        first = du[0] if sequence.batch_sizes is None else du[: sequence.batch]
        yield weight, sequence.at_first(h0), first


class KernelCell(Cell):
    """Cell with an ``operation``, which multiplies by one recurrent weight and has the step."""

    layer_norm = False

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
        capturing = any_captured(self.weights(layer))
        b_input, bias = self.biases(layer)
        options = self.kernel_options(layer)
        if (
            isinstance(weight_ih, SparseWeight)
            or weight_ih.shape[1] > self.most_fused_inputs
            or capturing
            or (sequence.batch_sizes is None and x.shape[1] == 1)
        ):
            x = multiply(weight_ih, x, b_input)
        else:
            options["w_input"] = weight_ih
            if b_input is not None:
                options["b_input"] = b_input
        if sequence.batch_sizes is not None:
            options["batch_sizes"] = sequence.batch_sizes
        captures_now = capturing and torch.is_grad_enabled()
        if captures_now and not x.requires_grad:
            x = x.detach().requires_grad_()
        outputs, *others, saved = self.operation.full(
            x, *state, bias, weight.values, weight.pattern, resets=sequence.resets, **options
        )
        if captures_now:
            self.capture(layer, x, outputs, state[0], saved, sequence)
        return outputs, sequence.last(outputs), *others

    def run_normed(self, layer: Layer, sequence: Sequence, state: State) -> tuple[Tensor, ...]:
        """Run one layer of a cell that has ``layer_norm``, with it."""
        raise NotImplementedError

    def capture(
        self,
        layer: Layer,
        x: Tensor,
        h: Tensor,
        h0: Tensor | None,
        saved: Tensor | None,
        sequence: Sequence,
    ) -> None:
        """Capture the factors of the layer's weights in the backward pass.

        ``x`` is ``W_ih x``, whose gradient is known then, ``h`` are all outputs, and ``saved`` is
        the tensor that the kernel keeps for its backward pass.
        """
        weight = layer["weight_hh"]
        if captures(weight):
            to_product = self.gradient_of_product(saved, sequence)
            capture(x, partial(recurrence, weight, h.detach(), h0, sequence, to_product))

    def gradient_of_product(
        self, saved: Tensor | None, sequence: Sequence
    ) -> Callable[[Tensor], Tensor] | None:
        """Return the function from the gradient of ``W_ih x`` to that of ``W_hh h``, or None."""
        return None
