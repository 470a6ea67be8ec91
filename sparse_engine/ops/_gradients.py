"""Sums and products that derivatives are made of."""

from __future__ import annotations

from torch import Tensor


def input_gradient(dv: Tensor, w_input: Tensor | None) -> Tensor:
    """Return the gradient of x from that of ``v = x @ w_input.T``; without weights v is x."""
    return dv if w_input is None else dv @ w_input.to(dv.dtype)


def total(*terms: Tensor | None) -> Tensor | None:
    """Return the sum of the terms that are not None, or None if there is none."""
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0]) if there else None
