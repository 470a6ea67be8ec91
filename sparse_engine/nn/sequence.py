"""Input of a recurrent network with lengths, episodes and timespans, in one value.

Rows of sequences of different lengths are in the order of a
:class:`torch.nn.utils.rnn.PackedSequence`: step t has a row for each of its ``batch_sizes[t]``
sequences, the longest sequence first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Ordered
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.errors import InputError
from sparse_engine.nn.options import check_entries
from sparse_engine.ops._dispatch.private import assert_later
from sparse_engine.ops.pattern import integers


class Sequence(NamedTuple):
    """Input of a layer with all that belongs to its steps, in the order in which it is read.

    Attributes:
        x: ``[steps, batch, features]``, or ``[rows, features]`` with ``batch_sizes``.
        batch_sizes: for sequences of different lengths, the number that run at each step, int64 on
            the CPU; ``x`` is then the data of a :class:`torch.nn.utils.rnn.PackedSequence`.
        resets: bool ``[steps, batch]``, true where an episode begins: the state before that step
            counts as zero. None for one episode.
        dt: ``[steps, batch]``, the length of an unfold at each step, for cells that are ``timed``.
    """

    x: Tensor
    batch_sizes: Tensor | None = None
    resets: Tensor | None = None
    dt: Tensor | None = None

    @property
    def steps(self) -> int:
        """Number of steps of the longest sequence."""
        return self.x.shape[0] if self.batch_sizes is None else self.batch_sizes.numel()

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.x.shape[1] if self.batch_sizes is None else int(self.batch_sizes[0])

    def reversal(self) -> Callable[[Tensor], Tensor]:
        """Return the function that turns around the steps of every sequence; its own inverse."""
        if self.batch_sizes is None:
            return partial(torch.flip, dims=(0,))
        lengths, begins = self._lengths_and_begins()
        step = torch.repeat_interleave(self.batch_sizes)
        sequence = torch.arange(step.numel(), device=step.device) - begins[step]
        rows = begins[lengths[sequence] - 1 - step] + sequence
        return partial(torch.index_select, dim=0, index=rows.to(self.x.device))

    def backwards(self, turned: Callable[[Tensor], Tensor]) -> Sequence:
        """Return what a layer that reads backwards reads, given :meth:`reversal`.

        Backwards, an episode begins where forwards it ends: one step before the next one begins.
        """
        resets, dt = self.resets, self.dt
        if resets is not None:
            resets = torch.cat([torch.zeros_like(resets[:1]), resets[1:].flip(0)])
        return Sequence(
            turned(self.x), self.batch_sizes, resets, None if dt is None else dt.flip(0)
        )

    def segments(self, every: int) -> Iterator[Sequence]:
        """Yield segments of ``every`` steps; the last may be shorter."""
        sizes: Iterable[Any] = repeat(None)
        parts = self.x.split(every) if self.batch_sizes is None else ()
        if self.batch_sizes is not None:
            sizes = self.batch_sizes.split(every)
            parts = self.x.split([int(each.sum()) for each in sizes])
        resets, dt = (
            repeat(None) if each is None else each.split(every) for each in (self.resets, self.dt)
        )
        yield from map(Sequence, parts, sizes, resets, dt)

    def last(self, states: Tensor) -> Tensor:
        """Return each sequence's last state ``[batch, features]``, of those of all steps."""
        if self.batch_sizes is None:
            return states[-1]
        lengths, begins = self._lengths_and_begins()
        rows = begins[lengths - 1] + torch.arange(lengths.numel(), device=lengths.device)
        return states.index_select(0, rows)

    def _lengths_and_begins(self) -> tuple[Tensor, Tensor]:
        """Return the number of steps of each sequence, and the first row of each step."""
        sizes: Any = self.batch_sizes
        sequence = torch.arange(int(sizes[0]), device=sizes.device)
        return (sizes[:, None] > sequence).sum(0), sizes.cumsum(0) - sizes

    def later(self, rows: Tensor) -> Tensor:
        """Return all rows but those of the first step."""
        return rows[1:] if self.batch_sizes is None else rows[self.batch :]

    def before_later(self, states: Tensor) -> Tensor:
        """Return the state before each row of :meth:`later`, zero where an episode begins."""
        if self.batch_sizes is not None:
            first, sizes = self.batch, self.batch_sizes
            rows = torch.arange(first, int(sizes.sum()), device=sizes.device)
            return states[rows - torch.repeat_interleave(sizes[:-1], sizes[1:])]
        before = states[:-1]
        return before if self.resets is None else before.masked_fill(self.resets[1:, :, None], 0)

    def at_first(self, h0: Tensor) -> Tensor:
        """Return the initial state, zero where an episode begins at the first step."""
        return h0 if self.resets is None else h0.masked_fill(self.resets[0, :, None], 0)


class Packing(NamedTuple):
    """Map between padded sequences and the rows of a packed sequence.

    torch's ``pack_padded_sequence`` and ``pad_packed_sequence`` copy step by step;
    :meth:`pack` and :meth:`pad` are single operations, and can be compiled.

    ``rows`` are positions among the padded ``steps * batch``, ``order`` are the numbers of the
    sequences, the longest first, and ``padded`` are the numbers of steps and sequences.
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


class Layout(NamedTuple):
    """Layout of sequences at the caller: read as a :class:`Sequence`, and written back alike.

    Attributes:
        batch_first: whether tensors are ``[batch, steps, ...]``.
        single: whether there is one sequence without a batch.
        packing: the rows of sequences of different lengths in a padded tensor, or None.
        packed: the PackedSequence that was given, or None.
    """

    batch_first: bool = False
    single: bool = False
    packing: Packing | None = None
    packed: PackedSequence | None = None

    @classmethod
    def of(cls, x: Tensor | PackedSequence, lengths: Any, *, batch_first: bool) -> Layout:
        """Return the layout of an input; raise InputError or ValueError for one without steps."""
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ValueError("expected no lengths beside a PackedSequence, found both")
            return cls(packed=x)
        single = x.dim() == 2
        if single and lengths is not None:
            raise InputError("expected no lengths for a single sequence without a batch")
        batch_first = batch_first and not single
        steps, batch = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])
        if steps == 0:
            raise InputError("expected at least one time step, found none")
        if lengths is None or batch == 0:
            return cls(batch_first, single)
        packing = Packing.of(checked_lengths(lengths, batch, steps), steps).to(x.device)
        return cls(batch_first, single, packing)

    def read(
        self, x: Tensor | PackedSequence, resets: Tensor | None = None, dt: Tensor | None = None
    ) -> Sequence:
        """Return the sequence; ``resets`` and ``dt`` have the shape of ``x`` without features."""
        if resets is not None and (self.packed or self.packing):
            raise InputError(
                "expected sequences of one length beside resets, found a PackedSequence or lengths"
            )
        if isinstance(x, PackedSequence):
            return Sequence(x.data, x.batch_sizes)
        resets = None if resets is None else checked_resets(resets, x)
        x = self._steps_first(x)
        if self.packing is not None:
            packed = self.packing.pack(x)
            return Sequence(packed.data, packed.batch_sizes)
        of_steps = (None if each is None else self._steps_first(each) for each in (resets, dt))
        return Sequence(x, None, *of_steps)

    @property
    def order(self) -> Tensor | None:
        """Numbers of the sequences in the order of a packed one, or None where that is theirs."""
        if self.packing is not None:
            return self.packing.order
        return None if self.packed is None else self.packed.sorted_indices

    def write(self, y: Tensor, sequence: Sequence) -> Tensor | PackedSequence:
        """Return the outputs of all steps in this layout."""
        if self.packed is not None:
            _, batch_sizes, in_order, back = self.packed
            return PackedSequence(y, batch_sizes, in_order, back)
        if self.packing is not None:
            y = self.packing.pad(y)
        if self.single:
            return y.squeeze(1)
        return y.transpose(0, 1) if self.batch_first else y

    def read_state(self, state: Tensor) -> tuple[Tensor, ...]:
        """Return the initial state of each layer, given that of all in the caller's order."""
        if self.single:
            state = state.unsqueeze(1)
        elif self.order is not None:
            state = state.index_select(1, self.order)
        return state.unbind(0)

    def write_state(self, states: Tensor) -> Tensor:
        """Return final states of all layers in the caller's order."""
        if self.single:
            return states.squeeze(1)
        order = self.order
        return states if order is None else states.index_select(1, order.argsort())

    def _steps_first(self, rows: Tensor) -> Tensor:
        if self.single:
            return rows.unsqueeze(1)
        return rows.transpose(0, 1) if self.batch_first else rows


def checked_resets(resets: Tensor, x: Tensor) -> Tensor:
    """Return the mask of where episodes begin as bools, or raise InputError or TypeError."""
    if not isinstance(resets, Tensor):
        raise TypeError(f"expected resets to be a tensor, found {type(resets).__name__}")
    if resets.shape != x.shape[:-1]:
        raise InputError(f"expected resets of shape {[*x.shape[:-1]]}, found {[*resets.shape]}")
    if resets.dtype != torch.bool and not resets.is_floating_point():
        found = f"{resets.dtype}".replace("torch.", "")
        raise InputError(f"expected resets of dtype bool or a floating dtype, found {found}")
    if resets.device != x.device:
        raise InputError(f"expected resets on {x.device}, found them on {resets.device}")
    return resets != 0


def reset_state(hx: Any, resets: Tensor, x: Tensor) -> Any:
    """Return the state before one step, with zeros for the sequences whose episodes begin there.

    ``hx`` has one state or several, ``[layers, batch, features]`` or ``[layers, features]``.
    Anything else is returned as it is, for the network to refuse.
    """
    begins = checked_resets(resets, x).unsqueeze(-1)

    def one(state: Any) -> Any:
        fits = isinstance(state, Tensor) and state.shape[1:-1] == begins.shape[:-1]
        return state.masked_fill(begins, 0) if fits else state

    return tuple(one(each) for each in hx) if isinstance(hx, tuple | list) else one(hx)


def checked_lengths(lengths: Tensor | Ordered[int], batch: int, steps: int) -> Tensor:
    """Return the lengths of ``batch`` sequences, each in [1, steps], as int64.

    Raises InputError, which names the first wrong length, or RuntimeError in a compiled network.
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
    check_entries(f"lengths in [1, {steps}]", lengths, fits, InputError)
    return lengths
