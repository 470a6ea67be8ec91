"""Rows of packed sequences, in the order of :class:`torch.nn.utils.rnn.PackedSequence`.

Step t has a row for each of its ``batch_sizes[t]`` sequences, the longest sequence first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.errors import InputError
from sparse_engine.ops._dispatch.private import assert_later
from sparse_engine.ops.pattern import integers


class Running:
    """States of sequences of different lengths: of those that still run, and of the others.

    Attributes:
        state: states of the running sequences, ``[running, ...]`` each.
    """

    def __init__(self, state: Sequence[Tensor]) -> None:
        self.state = tuple(state)
        self._ended: list[tuple[Tensor, ...]] = []

    def keep(self, count: int) -> None:
        """End all sequences but the first ``count``."""
        if count < self.state[0].shape[0]:
            self._ended.append(tuple(each[count:] for each in self.state))
            self.state = tuple(each[:count] for each in self.state)

    def final(self) -> list[Tensor]:
        """Return the final states of all sequences."""
        parts = zip(self.state, *reversed(self._ended), strict=True)
        return [torch.cat(each) for each in parts]


class Packing(NamedTuple):
    """Map between padded sequences and the rows of a packed sequence.

    torch's ``pack_padded_sequence`` and ``pad_packed_sequence`` copy step by step;
    :meth:`pack` and :meth:`pad` are single operations, and can be compiled.

    Attributes:
        rows: position among the padded ``steps * batch`` of each row of the packed sequence.
        batch_sizes: number of sequences at each step.
        order: numbers of the sequences, the longest first.
        padded: numbers of steps and of sequences with padding.
    """

    rows: Tensor
    batch_sizes: Tensor
    order: Tensor
    padded: tuple[int, int]

    @classmethod
    def of(cls, lengths: Tensor, steps: int) -> Packing:
        """Make the map for sequences of these lengths that are padded to ``steps`` steps."""
        lengths, order = lengths.sort(descending=True)
        runs = torch.arange(steps, device=lengths.device)[:, None] < lengths
        sizes = runs.sum(1)
        step, place = runs.nonzero().unbind(1)
        batch = order.numel()
        return cls(step * batch + order[place], sizes[sizes > 0], order, (steps, batch))

    def to(self, device: torch.device) -> Packing:
        """Return the map for sequences on a device; batch sizes stay on the CPU."""
        return self._replace(rows=self.rows.to(device), order=self.order.to(device))

    def pack(self, x: Tensor) -> PackedSequence:
        """Pack ``[steps, batch, features]``, without the padding."""
        data = x.flatten(0, 1).index_select(0, self.rows)
        return PackedSequence(data, self.batch_sizes, self.order, self.order.argsort())

    def pad(self, y: Tensor) -> Tensor:
        """Unpack the data of a PackedSequence, with zeros for the padding."""
        padded = y.new_zeros(math.prod(self.padded), y.shape[1]).index_copy(0, self.rows, y)
        return padded.unflatten(0, self.padded)


def last_rows(batch_sizes: Tensor) -> Tensor:
    """Return the last row of each sequence."""
    lengths, begins = _lengths(batch_sizes), _begins(batch_sizes)
    return begins[lengths - 1] + torch.arange(lengths.numel(), device=lengths.device)


def reversal(batch_sizes: Tensor) -> Tensor:
    """Return the permutation of rows by which every sequence is read backwards."""
    lengths, begins = _lengths(batch_sizes), _begins(batch_sizes)
    step = torch.repeat_interleave(batch_sizes)
    sequence = torch.arange(step.numel(), device=step.device) - begins[step]
    return begins[lengths[sequence] - 1 - step] + sequence


def rows_before(batch_sizes: Tensor) -> Tensor:
    """Return, for each row from step 1 on, the row of its sequence one step earlier."""
    first, end = int(batch_sizes[0]), int(batch_sizes.sum())
    rows = torch.arange(first, end, device=batch_sizes.device)
    return rows - torch.repeat_interleave(batch_sizes[:-1], batch_sizes[1:])


def checked_lengths(lengths: Tensor | Sequence[int], batch: int, steps: int) -> Tensor:
    """Return the lengths of ``batch`` sequences, each in [1, steps], as int64.

    Raises:
        InputError: a wrong shape, dtype or device, or a wrong length; names the first wrong one.
        RuntimeError: a wrong length, in a compiled network.
    """
    if not isinstance(lengths, Tensor):
        lengths = torch.tensor(lengths, device="cpu")
    if lengths.device.type != "cpu":
        raise InputError(f"expected lengths on the CPU, found them on {lengths.device}")
    if lengths.shape != (batch,):
        raise InputError(f"expected lengths of shape [{batch}], found {[*lengths.shape]}")
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError(f"expected lengths of an integer dtype, found {lengths.dtype}")
    lengths = integers(lengths, "lengths")
    fits = (lengths >= 1) & (lengths <= steps)
    if torch.compiler.is_compiling():  # a compiled graph cannot say which entry is wrong
        assert_later(fits.all(), f"expected lengths in [1, {steps}]")
        return lengths
    wrong = (~fits).nonzero()
    if wrong.numel():
        at = int(wrong[0])
        raise InputError(
            f"expected lengths in [1, {steps}], found {int(lengths[at])} at position {at}"
        )
    return lengths


def _lengths(batch_sizes: Tensor) -> Tensor:
    sequence = torch.arange(int(batch_sizes[0]), device=batch_sizes.device)
    return (batch_sizes[:, None] > sequence).sum(0)


def _begins(batch_sizes: Tensor) -> Tensor:
    return batch_sizes.cumsum(0) - batch_sizes
