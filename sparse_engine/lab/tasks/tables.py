"""Lines, numbers and names of text files, checked as they are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """Line of a text file, cut into fields.

    Attributes:
        path: the file.
        number: number of the line, from 1.
        fields: the parts between the separators.
    """

    path: Path
    number: int
    fields: list[str]

    def floats(self, start: int, end: int) -> list[float]:
        """Return the numbers in the columns ``start`` to ``end - 1``.

        Raises:
            ValueError: a field that is not a finite number.
        """
        found = []
        for column in range(start, end):
            try:
                number = float(self.fields[column])
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise self.error(f"a finite number in column {column + 1}", self.fields[column])
            found.append(number)
        return found

    def one_of(self, numbers: Mapping[str, int], column: int) -> int:
        """Return the number of the name in a column.

        Raises:
            ValueError: a name that has no number.
        """
        name = self.fields[column]
        if name not in numbers:
            raise self.error(f"one of {', '.join(numbers)} in column {column + 1}", name)
        return numbers[name]

    def error(self, expected: str, found: str) -> ValueError:
        """Return the error that says what was expected in this line of the file."""
        return ValueError(
            f"expected {expected}, found {found[:60]!r} in line {self.number} of {self.path}"
        )


def read_lines(path: Path, columns: int, *, separator: str = ",") -> Iterator[Line]:
    """Yield the lines of a text file that are not blank.

    Args:
        path: the file, in UTF-8; bytes that are not become U+FFFD.
        columns: number of fields of each line.
        separator: text between fields.

    Raises:
        ValueError: a line with another number of fields.
    """
    # A file is read at once, so that none stays open where an error ends the loop.
    for number, text in enumerate(path.read_bytes().decode(errors="replace").split("\n"), 1):
        if not text.strip():
            continue
        line = Line(path, number, text.rstrip("\r").split(separator))
        if len(line.fields) != columns:
            raise line.error(f"{columns} columns", f"{len(line.fields)}: {text.strip()}")
        yield line
