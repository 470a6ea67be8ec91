"""Synapses that arrive in pieces, by id of neuron: numbered, summed, and sorted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array, csr_array

from sparse_engine.connectome.ids import Numbering, Place
from sparse_engine.connectome.transmitters import SIGNS
from sparse_engine.errors import TableError

#: Rows that are kept before duplicates are summed: 32 million take 400 MB.
MOST_ROWS = 2**25


class Synapses(NamedTuple):
    """Synapses in CSR: rows are postsynaptic neurons, columns presynaptic ones, sorted."""

    crow: np.ndarray
    col: np.ndarray
    synapses: np.ndarray
    sign: np.ndarray


class Columns(NamedTuple):
    """Columns of a table of links, and their names in messages."""

    pre: pa.Array
    post: pa.Array
    synapses: pa.Array | None = None
    sign: pa.Array | None = None


class LinkStream:
    """Sums rows ``pre, post, count, sign`` to one link for each pair of neurons.

    Rows of neurons that are not listed are dropped. Integer counts are summed as integers, so that
    the order of rows does not matter.

    Args:
        table: name of the table in messages.
        names: names of the columns ``pre, post, count, sign`` in messages.
        numbering: numbers of the neurons.
    """

    def __init__(self, table: str, names: tuple[str, ...], numbering: Numbering) -> None:
        self.table = table
        self.names = names
        self.numbering = numbering
        self.rows_read = 0
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._kept = 0
        self._limit = MOST_ROWS

    def add(self, columns: Columns) -> None:
        """Add rows.

        Raises:
            TableError: an id, count or sign that is not valid; the message names its row.
        """
        at = [Place(self.table, name, self.rows_read) for name in self.names]
        pre, post = (
            self.numbering.number(ids, place)
            for ids, place in zip(columns[:2], at[:2], strict=True)
        )
        count = _counts(columns.synapses, len(pre), at[2])
        sign = np.zeros(len(pre), np.int8) if columns.sign is None else _signs(columns.sign, at[3])
        wrong = (sign != 0) & (count == 0)
        if wrong.any():
            row = int(wrong.argmax())
            raise at[3].error("a sign of a synapse", sign[row], row, "its count is 0: remove it")
        keep = (count != 0) & (pre >= 0) & (post >= 0)
        self.rows_read += len(pre)
        part = pre, post, count, sign
        self._parts.append(part if keep.all() else tuple(each[keep] for each in part))
        self._kept += len(self._parts[-1][0])
        if self._kept > self._limit:
            links = self._sum()
            post = np.repeat(np.arange(len(links.crow) - 1, dtype=np.int32), np.diff(links.crow))
            self._parts = [(links.col, post, links.synapses, links.sign)]
            self._kept = len(post)
            self._limit = max(MOST_ROWS, 2 * self._kept)

    def finish(self, order: np.ndarray | None = None) -> Synapses:
        """Return all links; with an ``order`` of the neurons, as they are numbered in it."""
        if order is not None:
            place = np.empty(len(order), np.int32)
            place[order] = np.arange(len(order), dtype=np.int32)
            self._parts = [(place[pre], place[post], *more) for pre, post, *more in self._parts]
            self.numbering.index = self.numbering.index.take(order)
        return self._sum()

    def _sum(self) -> Synapses:
        pre, post, count, sign = (
            np.concatenate(each) if each else np.empty(0, np.int32)
            for each in (zip(*self._parts, strict=True) if self._parts else ((),) * 4)
        )
        self._parts.clear()
        neurons = len(self.numbering)
        of_neuron = _signs_of_neurons(pre, sign, neurons)
        summed = sum_links(post, pre, _wide(count), neurons)
        if of_neuron is not None:
            signs = of_neuron[summed.indices]
        else:
            signed = sum_links(post, pre, _wide(count) * sign, neurons).data
            given = sum_links(post, pre, np.abs(sign, dtype=np.int32), neurons).data > 0
            self._check_signs(summed, signed, given)
            signs = np.sign(signed).astype(np.int8)
        return Synapses(
            summed.indptr.astype(np.int64),
            summed.indices.astype(np.int32, copy=False),
            _narrowed(summed.data),
            signs,
        )

    def _check_signs(self, summed: csr_array, signed: np.ndarray, given: np.ndarray) -> None:
        wrong = given & ~np.isclose(np.abs(signed), summed.data, rtol=1e-9)
        if wrong.any():
            at = int(wrong.argmax())
            row, ids = int(np.searchsorted(summed.indptr, at, side="right")) - 1, self.numbering
            raise TableError(
                f"expected one sign for all synapses of a pair in column {self.names[3]!r} of "
                f"{self.table}, found several from neuron {ids.index[summed.indices[at]]} to "
                f"{ids.index[row]}; read it without signs, and give those of neurons by with_signs"
            )


def sum_links(post: np.ndarray, pre: np.ndarray, count: np.ndarray, neurons: int) -> csr_array:
    """Return the sums of duplicates, sorted by rows ``post`` and columns, zeros included."""
    links = coo_array((count, (post, pre)), shape=(neurons, neurons))
    # Two passes that count take a third of the time of sorting each row; SciPy sorts what is not
    # said to be in order, so that is said of the first.
    links.has_canonical_format = True
    summed = links.tocsc().tocsr()
    summed.has_canonical_format, summed.has_sorted_indices = False, True
    summed.sum_duplicates()
    return summed


def _counts(column: pa.Array | None, rows: int, place: Place) -> np.ndarray:
    if column is None:
        return np.ones(rows, np.int32)
    if column.null_count:
        row = int(column.is_null().to_numpy(False).argmax())
        raise place.error("numbers of synapses", "none", row, "remove this row")
    count = column.to_numpy(False)
    if count.dtype.kind not in "iuf":
        raise place.error("numbers of synapses", repr(column[0].as_py()), 0, "name another column")
    wrong = ~((count >= 0) & (count <= 2**62))
    if wrong.any():
        row = int(wrong.argmax())
        advice = "give the sign in a column of its own (sign=), and counts without it"
        raise place.error("numbers of synapses of at least 0", count[row], row, advice)
    if count.dtype.kind == "f" and (count == np.floor(count)).all() and (count < 2**53).all():
        count = count.astype(np.int64)
    return _narrowed(count)


def _signs(column: pa.Array, place: Place) -> np.ndarray:
    if column.null_count:
        column = column.fill_null("" if pa.types.is_string(column.type) else 0)
    values = column.to_numpy(False)
    if values.dtype == bool:
        return np.where(values, 1, -1).astype(np.int8)
    if values.dtype.kind == "O":
        encoded = column.dictionary_encode()
        known = [SIGNS.get(str(each).strip().lower(), 0) for each in encoded.dictionary.to_pylist()]
        return np.array(known, np.int8)[encoded.indices.to_numpy(False)]
    wrong = (values != 0) & (values != 1) & (values != -1)
    if wrong.any():
        row = int(wrong.argmax())
        raise place.error("signs 1, -1, or 0 where unknown", values[row], row, "correct it")
    return values.astype(np.int8)


def _signs_of_neurons(pre: np.ndarray, sign: np.ndarray, neurons: int) -> np.ndarray | None:
    """Return the sign of all rows out of each neuron, or None where they differ."""
    of_neuron = np.zeros(neurons, np.int8)
    of_neuron[pre] = sign
    return of_neuron if np.array_equal(of_neuron[pre], sign) else None


def _wide(count: np.ndarray) -> np.ndarray:
    """Return counts of a dtype that holds their sum."""
    if count.dtype.kind == "f":
        return count.astype(np.float64)
    return count if count.sum() < 2**31 else count.astype(np.int64)


def _narrowed(count: np.ndarray) -> np.ndarray:
    if count.dtype.kind in "iu" and (not len(count) or count.max() < 2**31):
        return count.astype(np.int32)
    return count
