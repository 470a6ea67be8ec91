"""Dropout that stays the same throughout a sequence."""

from __future__ import annotations

from torch import Tensor, nn


class LockedDropout(nn.Dropout):
    """:class:`torch.nn.Dropout` with one mask for all time steps (Gal and Ghahramani 2016).

    Args:
        p: the share of a sequence's features that is dropped, in [0, 1].
        batch_first: sequences are [batch, steps, features] instead of [steps, batch, features].
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        super().__init__(p)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        """``x * mask / (1 - p)`` in training, for sequences or ``[steps, features]``; else x."""
        if not self.training:
            return x
        shape = [*x.shape]
        shape[1 if self.batch_first and x.dim() == 3 else 0] = 1
        return x * super().forward(x.new_ones(shape))

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"p={self.p}, batch_first={self.batch_first}"
