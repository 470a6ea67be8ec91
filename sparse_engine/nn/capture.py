"""Capture of what the gradients of recurrent weights are made of, for growth by gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from sparse_engine.nn._packed import rows_before
from sparse_engine.nn.weight import SparseWeight

#: A use of a weight: the weight, what it multiplied, and the gradient of the product.
Use = tuple[SparseWeight, Tensor, Tensor]


def captures(weight: SparseWeight) -> bool:
    """Whether the factors of this use of a weight are wanted."""
    return weight.factors is not None and torch.is_grad_enabled()


def capture(x: Tensor, uses: Callable[[Tensor], Iterator[Use]]) -> None:
    """Note the factors of weights once the gradient of ``x``, which ``uses`` is given, is known."""
    x.register_hook(partial(_note, uses))


def recurrence(
    weight: SparseWeight,
    h: Tensor,
    h0: Tensor | None,
    batch_sizes: Tensor | None,
    to_product: Callable[[Tensor], Tensor] | None,
    dx: Tensor,
) -> Iterator[Use]:
    """Yield the uses of a recurrent weight: at each step the gradient meets the state before it.

    Args:
        weight: the recurrent weight.
        h: all states ``[steps, batch, hidden]``, or ``[rows, hidden]`` with ``batch_sizes``.
        h0: the first state; None for zeros.
        batch_sizes: how many sequences each step has; None where all have all steps.
        to_product: makes the gradient of the recurrent product of that of the input's contribution;
            None where they are equal.
        dx: the gradient of the input's contribution.
    """
    du = dx if to_product is None else to_product(dx)
    if batch_sizes is None:
        first, later, before = du[0], du[1:], h[:-1]
    else:
        first, later = du.tensor_split([int(batch_sizes[0])])
        before = h[rows_before(batch_sizes)]
    yield weight, before, later
    if h0 is not None:
        yield weight, h0, first


def _note(uses: Callable[[Tensor], Iterator[Use]], dx: Tensor) -> None:
    for weight, inputs, gradient in uses(dx):
        weight.note(inputs, gradient)
