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
            case. Sparse weights are CSR values, CSR or dense matrices.
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
    patterns: Mapping[str, Pattern],
    *,
    tolerance: float = 1e-4,
) -> None:
    """Checks that all give the first one's output and gradients.

    Entries may differ by ``tolerance`` of the greatest, and by ten times that of themselves. The
    gradients of sparse weights, whose patterns are given by name, are compared at their links.

    Raises:
        AssertionError: naming the contestant and what differs, or an output of another dtype.
    """
    expected: dict[str, Tensor] = {}
    for name, contestant in contestants.items():
        found = results(contestant, upstream, patterns)
        expected = expected or found
        for what in expected.keys() & found.keys():
            torch.testing.assert_close(
                found[what],
                expected[what],
                rtol=10 * tolerance,
                atol=tolerance * float(expected[what].abs().max()),
                msg=lambda text, where=f"{name}, {what}": f"{where}: {text}",
            )


def results(
    contestant: Contestant, upstream: Tensor, patterns: Mapping[str, Pattern]
) -> dict[str, Tensor]:
    """The output and all gradients, those of sparse weights at their links."""
    contestant.step(upstream)()
    output = contestant.forward().detach()
    if output.dtype != contestant.dtype:
        raise AssertionError(f"expected an output of {contestant.dtype}, found {output.dtype}")
    found = {"output": output.float()}
    for what, leaf in contestant.leaves.items():
        is_sparse = what in patterns
        found[what] = at_links(leaf.grad, patterns[what]) if is_sparse else leaf.grad
    return found


def at_links(gradient: Tensor, pattern: Pattern) -> Tensor:
    """A sparse weight's gradient ``[nnz]`` from a vector, a CSR or a dense matrix."""
    if gradient.layout == torch.sparse_csr:
        return gradient.values()
    return gradient if gradient.dim() == 1 else gradient[pattern.rows(), pattern.col.long()]
