"""Dropout that stays the same throughout a sequence."""

from __future__ import annotations

from torch import Tensor, nn

from sparse_engine.nn._checks import check_flag, check_fraction


class LockedDropout(nn.Dropout):
    """:class:`torch.nn.Dropout` with one mask for all time steps (Gal and Ghahramani 2016).

    Args:
        p: fraction of a sequence's features that is dropped, in [0, 1].
        batch_first: sequences are [batch, steps, features] instead of [steps, batch, features].

    Raises:
        ValueError: p out of range.
        TypeError: batch_first is no bool.
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        check_fraction("p", p)
        check_flag("batch_first", batch_first)
        super().__init__(p)
        self.batch_first = batch_first

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input * mask / (1 - p)``, with one mask for all steps; in eval() the input."""
        if not self.training:
            return input
        shape = [*input.shape]
        shape[1 if self.batch_first and input.dim() == 3 else 0] = 1
        return input * super().forward(input.new_ones(shape))

    def extra_repr(self) -> str:
        """Return what ``print(module)`` shows."""
        return f"p={self.p}, batch_first={self.batch_first}"
