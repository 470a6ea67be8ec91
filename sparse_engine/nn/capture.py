"""Capture of the factors of recurrent weights' gradients, for rules that grow by gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from sparse_engine.nn._packed import rows_before
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._sequence import set_back

#: A use of a weight: the weight, what it multiplied, and the gradient of the product.
Use = tuple[SparseWeight, Tensor, Tensor]


def captures(weight: SparseWeight) -> bool:
    """Whether this use of a weight has to capture its factors."""
    return weight.captured is not None and torch.is_grad_enabled()


def capture(x: Tensor, uses: Callable[[Tensor], Iterator[Use]]) -> None:
    """Capture ``uses(gradient of x)`` in the backward pass, when that gradient is known."""
    x.register_hook(partial(_capture, uses))


def recurrence(
    weight: SparseWeight,
    h: Tensor,
    h0: Tensor | None,
    batch_sizes: Tensor | None,
    to_product: Callable[[Tensor], Tensor] | None,
    resets: Tensor | None,
    dx: Tensor,
) -> Iterator[Use]:
    """Yield the uses of a recurrent weight: the gradient of each step with the state before it.

    Args:
        weight: the recurrent weight.
        h: all states ``[steps, batch, hidden]``, or ``[rows, hidden]`` with ``batch_sizes``.
        h0: the first state; None for zeros.
        batch_sizes: how many sequences each step has; None where all have all steps.
        to_product: computes the gradient of ``W_hh h`` from that of ``W_ih x``; None where the two
            are equal.
        resets: bool ``[steps, batch]``, the steps before which the state is zero; None for none.
        dx: the gradient of ``W_ih x``.
    """
    du = dx if to_product is None else to_product(dx)
    if batch_sizes is None:
        first, later, before = du[0], du[1:], h[:-1]
    else:
        first, later = du.tensor_split([int(batch_sizes[0])])
        before = h[rows_before(batch_sizes)]
    if resets is not None:
        before = before.masked_fill(resets[1:].unsqueeze(-1), 0)
        h0 = None if h0 is None else set_back(h0, resets, 0)
    yield weight, before, later
    if h0 is not None:
        yield weight, h0, first


def _capture(uses: Callable[[Tensor], Iterator[Use]], dx: Tensor) -> None:
    for weight, inputs, gradient in uses(dx):
        weight.capture(inputs, gradient)
