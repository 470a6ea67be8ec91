"""Problems for the recurrence."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from sparse_engine import ops
from sparse_engine.ops import Pattern
from sparse_engine.testing import integers


class Recurrence(NamedTuple):
    """The arguments of :func:`sparse_engine.ops.rnn`."""

    x: Tensor
    h0: Tensor | None
    bias: Tensor | None
    values: Tensor
    pattern: Pattern
    w_input: Tensor | None
    nonlinearity: str

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The tensors that gradients are wanted of, by name."""
        return {
            name: tensor for name, tensor in self._asdict().items() if isinstance(tensor, Tensor)
        }

    def replace(self, change) -> Recurrence:
        """The same problem with ``change`` applied to every leaf."""
        changed = {name: change(leaf) for name, leaf in self.leaves.items()}
        return self._replace(**changed)

    def run(self, rnn=ops.rnn) -> Tensor:
        """The states."""
        *arguments, w_input, nonlinearity = self
        return rnn(*arguments, w_input=w_input, nonlinearity=nonlinearity)

    def gradients(self, upstream: Tensor, rnn=ops.rnn) -> tuple[Tensor, dict[str, Tensor]]:
        """The states, and the gradient of every leaf."""
        own = self.replace(lambda leaf: leaf.detach().requires_grad_())
        h = own.run(rnn)
        grads = torch.autograd.grad(h, list(own.leaves.values()), upstream.to(h.dtype))
        return h.detach(), dict(zip(own.leaves, grads, strict=True))


@pytest.fixture(scope="session")
def recurrence():
    """Makes a problem: on whole numbers, or on real ones that neither explode nor die out."""

    def make(
        pattern: Pattern,
        steps: int,
        batch: int,
        dtype: torch.dtype,
        *,
        inputs: int | None = None,
        initial: bool = True,
        bias: bool = True,
        nonlinearity: str = "tanh",
        whole: bool = False,
    ) -> Recurrence:
        hidden = pattern.shape[0]

        def numbers(*shape: int, scale: float = 1.0) -> Tensor:
            if whole:
                return integers(*shape, dtype=dtype, most=1)
            return scale * torch.randn(*shape, dtype=dtype)

        return Recurrence(
            numbers(steps, batch, hidden if inputs is None else inputs),
            numbers(batch, hidden) if initial else None,
            numbers(hidden) if bias else None,
            numbers(pattern.nnz, scale=(hidden / max(1, pattern.nnz)) ** 0.5),
            pattern,
            None if inputs is None else numbers(hidden, inputs, scale=max(1, inputs) ** -0.5),
            nonlinearity,
        )

    return make
