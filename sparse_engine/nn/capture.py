"""Capture of the factors of recurrent weights' gradients, for rules that grow by gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight

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
