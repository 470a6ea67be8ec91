"""Ids of neurons, 64-bit integers or text, and the numbers that stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sparse_engine.errors import TableError

#: Text that is an integer, as ids are written in some tables.
INTEGER = r"^[+-]?\d+$"
KIND = {True: "names", False: "integers"}


@dataclass(frozen=True)
class Place:
    """Where a column's values come from, for messages: row 0 of the values is ``first_row``."""

    table: str
    column: str
    first_row: int = 0

    def error(self, expected: str, found: object, row: int, advice: str) -> TableError:
        """Return the error of one value."""
        return TableError(
            f"expected {expected} in column {self.column!r} of {self.table}, found {found} in row "
            f"{self.first_row + row}; {advice}"
        )


class Numbering:
    """Numbers from 0 on for ids, in the order of a table, or in the order of appearance.

    Ids are int64. Text is read as integers where all of it is integers, and kept otherwise.

    Args:
        ids: the ids to number; by default all that appear are numbered.
        text: whether ids are kept as text, integers too.
    """

    def __init__(self, ids: pa.Array | None = None, *, text: bool = False) -> None:
        self.text = text
        self.names: bool | None = None  # whether ids are text; unknown before the first
        self.index = pd.Index([])
        self.fixed = False
        if ids is not None:
            place = Place("the table of neurons", "id")
            numbers = self.number(ids, place)
            twice = pd.Series(numbers).duplicated().to_numpy()
            if twice.any():
                row = int(twice.argmax())
                raise place.error("ids once", ids[row].as_py(), row, "remove one of the rows")
            self.fixed = True

    def __len__(self) -> int:
        return len(self.index)

    def number(self, column: pa.Array, place: Place) -> np.ndarray:
        """Return the number of each id, int32; -1 for an id that is not listed.

        Raises:
            TableError: an id that is missing, a float, beyond 64 bits, or text among integers.
        """
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if not len(column):
            return np.empty(0, np.int32)
        if column.null_count:
            row = int(column.is_null().to_numpy(False).argmax())
            raise place.error("ids", "none", row, "remove rows without an id")
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        codes = column.indices.to_numpy(False)
        keys = self._keys(column.dictionary, codes, place)
        numbers = self.index.get_indexer(keys)
        new = numbers < 0
        if not self.fixed and new.any():
            if len(self.index) + int(new.sum()) >= 2**31:
                raise TableError(f"expected fewer than 2^31 neurons, found more in {place.table}")
            numbers[new] = len(self.index) + np.arange(int(new.sum()))
            self.index = keys[new] if not len(self.index) else self.index.append(keys[new])
        return numbers.astype(np.int32)[codes]

    def order(self) -> np.ndarray:
        """Return the numbers in the order of ids."""
        return np.argsort(self.index.to_numpy(), kind="stable")

    def _keys(self, ids: pa.Array, codes: np.ndarray, place: Place) -> pd.Index:
        def error(expected: str, at: int, advice: str) -> TableError:
            row = int((codes == at).argmax())
            return place.error(expected, repr(ids[at].as_py()), row, advice)

        if pa.types.is_integer(ids.type):
            numbers = ids.to_numpy(False)
            if ids.type == pa.uint64() and (numbers >= 2**63).any():
                at = int((numbers >= 2**63).argmax())
                raise error("ids below 2^63", at, "give ids as text")
            numbers = numbers.astype(np.int64)
            return self._of_kind(self.text, numbers.astype(str) if self.text else numbers, error)
        if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
            raise error(
                "ids that are integers or text",
                0,
                f"the column is {ids.type}, which does not keep all digits; read it as int64",
            )
        trimmed = pc.utf8_trim_whitespace(ids)
        integers = pc.match_substring_regex(trimmed, INTEGER).to_numpy(False)
        if self.text or not integers.any():
            return self._of_kind(True, trimmed.to_numpy(False), error)
        if not integers.all():
            names = bool(self.names) or not integers[0]
            at = int((integers == names).argmax())
            raise error(f"ids that are all {KIND[names]}", at, "pass text_ids=True to keep text")
        try:
            numbers = trimmed.cast(pa.int64()).to_numpy(False)
        except pa.ArrowInvalid:
            wide = [int(each.as_py()) for each in trimmed]
            at = next(i for i, each in enumerate(wide) if not -(2**63) <= each < 2**63)
            raise error("ids below 2^63", at, "pass text_ids=True to keep text") from None
        return self._of_kind(False, numbers, error)

    def _of_kind(self, names: bool, ids: np.ndarray, error: Any) -> pd.Index:
        if self.names is not None and self.names != names:
            raise error(
                f"ids that are all {KIND[self.names]}, as those before", 0, "pass text_ids=True"
            )
        self.names = names
        return pd.Index(ids.astype(object) if names else ids)


def as_arrow(values: Any) -> pa.Array:
    """Return a column of any table, or an array, as an Arrow array."""
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if isinstance(values, pd.Series | pd.Index):
        values = values.to_numpy() if values.dtype != object else values.tolist()
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise TableError(f"expected a column of one type, found another: {error}") from error
