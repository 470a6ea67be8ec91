"""Rows of packed sequences, as :class:`torch.nn.utils.rnn.PackedSequence` orders them.

Step t has a row for each of its ``batch_sizes[t]`` sequences, the longest first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_engine.ops.pattern import integers


class Running:
    """The states of the sequences that go on, ``[batch, ...]`` each, beside those that have ended.

    Attributes:
        state: of those that go on.
    """

    def __init__(self, state: Sequence[Tensor]) -> None:
        self.state = tuple(state)
        self._ended: list[tuple[Tensor, ...]] = []

    def keep(self, count: int) -> None:
        """Only the first ``count`` sequences go on."""
        if count < self.state[0].shape[0]:
            self._ended.append(tuple(each[count:] for each in self.state))
            self.state = tuple(each[:count] for each in self.state)

    def final(self) -> list[Tensor]:
        """The last states of all sequences."""
        parts = zip(self.state, *reversed(self._ended), strict=True)
        return [torch.cat(each) for each in parts]


def last_rows(batch_sizes: Tensor) -> Tensor:
    """Where each sequence ends."""
    lengths, begins = _lengths(batch_sizes), _begins(batch_sizes)
    return begins[lengths - 1] + torch.arange(lengths.numel())


def reversal(batch_sizes: Tensor) -> Tensor:
    """The row that stands in each row's place when every sequence is read backwards."""
    lengths, begins = _lengths(batch_sizes), _begins(batch_sizes)
    step = torch.repeat_interleave(batch_sizes)
    sequence = torch.arange(step.numel()) - begins[step]
    return begins[lengths[sequence] - 1 - step] + sequence


def rows_before(batch_sizes: Tensor) -> Tensor:
    """The same sequence's row one step earlier, for the rows from step 1 on."""
    rows = torch.arange(int(batch_sizes[0]), int(batch_sizes.sum()))
    return rows - torch.repeat_interleave(batch_sizes[:-1], batch_sizes[1:])


def checked_lengths(lengths: Tensor | Sequence[int], batch: int, steps: int) -> Tensor:
    """The lengths of ``batch`` sequences, each in [1, steps], as int64.

    Raises:
        ValueError: naming ``lengths``: a wrong shape, dtype or device, or the first wrong length.
    """
    lengths = torch.as_tensor(lengths)
    if lengths.device.type != "cpu":
        raise ValueError(f"expected lengths on the CPU, found them on {lengths.device}")
    if lengths.shape != (batch,):
        raise ValueError(f"expected lengths of shape [{batch}], found {[*lengths.shape]}")
    lengths = integers(lengths, "lengths")
    wrong = ((lengths < 1) | (lengths > steps)).nonzero()
    if wrong.numel():
        at = int(wrong[0])
        raise ValueError(
            f"expected lengths in [1, {steps}], found {int(lengths[at])} at position {at}"
        )
    return lengths


def _lengths(batch_sizes: Tensor) -> Tensor:
    return (batch_sizes[:, None] > torch.arange(int(batch_sizes[0]))).sum(0)


def _begins(batch_sizes: Tensor) -> Tensor:
    return batch_sizes.cumsum(0) - batch_sizes
