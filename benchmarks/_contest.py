"""Implementations that are compared must compute the same: outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.ops import Pattern


@dataclass(frozen=True)
class Contestant:
    """One implementation.

    Attributes:
        forward: from the inputs to the output.
        leaves: what gets a gradient; equal names mean the same thing in all contestants of a
            case, and ``links`` is the sparse weight as CSR values, CSR or dense matrix.
        dtype: of the output, and of the gradient that comes from above.
    """

    forward: Callable[[], Tensor]
    leaves: Mapping[str, Tensor]
    dtype: torch.dtype = torch.float32

    def step(self, upstream: Tensor) -> Callable[[], None]:
        """A training step without its optimizer: gradients cleared, forward, backward."""
        upstream = upstream.to(self.dtype)

        def run() -> None:
            for leaf in self.leaves.values():
                leaf.grad = None
            self.forward().backward(upstream)

        return run


def steps(contestants: Mapping[str, Contestant], upstream: Tensor) -> dict[str, Callable[[], None]]:
    """A training step of each."""
    return {name: contestant.step(upstream) for name, contestant in contestants.items()}


def check(
    contestants: Mapping[str, Contestant],
    upstream: Tensor,
    pattern: Pattern,
    *,
    tolerance: float = 1e-4,
) -> None:
    """Checks that all give the first one's output and gradients.

    Entries may differ by ``tolerance`` of the greatest, and by ten times that of themselves.

    Raises:
        AssertionError: naming the contestant and what differs.
    """
    expected: dict[str, Tensor] = {}
    for name, contestant in contestants.items():
        found = results(contestant, upstream, pattern)
        expected = expected or found
        for what in expected.keys() & found.keys():
            torch.testing.assert_close(
                found[what],
                expected[what],
                rtol=10 * tolerance,
                atol=tolerance * float(expected[what].abs().max()),
                check_dtype=False,
                msg=lambda text, where=f"{name}, {what}": f"{where}: {text}",
            )


def results(contestant: Contestant, upstream: Tensor, pattern: Pattern) -> dict[str, Tensor]:
    """The output and all gradients, that of the weight at its links."""
    contestant.step(upstream)()
    found = {"output": contestant.forward().detach()}
    for what, leaf in contestant.leaves.items():
        found[what] = at_links(leaf.grad, pattern) if what == "links" else leaf.grad
    return found


def at_links(gradient: Tensor, pattern: Pattern) -> Tensor:
    """A sparse weight's gradient ``[nnz]`` from a vector, a CSR or a dense matrix."""
    if gradient.layout == torch.sparse_csr:
        return gradient.values()
    return gradient if gradient.dim() == 1 else gradient[pattern.rows(), pattern.col.long()]
