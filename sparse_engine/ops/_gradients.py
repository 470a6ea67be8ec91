"""What the derivatives of the operations return."""

from __future__ import annotations

from torch import Tensor


def where_needed(ctx: object, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    """For each input of an operation its gradient, or None where autograd needs none.

    Args:
        ctx: autograd's context of the operation.
        gradients: of the first inputs; those behind them have none.
    """
    needed = ctx.needs_input_grad
    own = [each if need else None for each, need in zip(gradients, needed, strict=False)]
    return *own, *(None,) * (len(needed) - len(own))


def of_input(dz: Tensor, w_input: Tensor | None) -> Tensor:
    """The gradient of x from that of its contribution: ``x @ w_input.T``, or x itself."""
    return dz if w_input is None else dz @ w_input.to(dz.dtype)


def total(*terms: Tensor | None) -> Tensor | None:
    """The sum of the terms that are there, or None."""
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0]) if there else None
