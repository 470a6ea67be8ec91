"""ConversionReport of a conversion: a row for each weight, printed as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ConversionRow:
    """Conversion of one weight.

    Attributes:
        name: name of the weight in the model, such as ``"encoder.weight_hh_l0"``.
        shape: ``(out_features, in_features)``.
        density: fraction of the positions that hold a link afterwards; 1.0 for a dense weight.
        bytes_before: memory of the weight before, in bytes.
        bytes_after: memory of the weight afterwards, with its indices.
        error: Frobenius norm of the change of the weight, relative to that of the weight.
        note: why the weight was left as it is, or empty.
    """

    name: str
    shape: tuple[int, int]
    density: float
    bytes_before: int
    bytes_after: int
    error: float
    note: str = ""


@dataclass(frozen=True)
class ConversionReport:
    """Conversion of a model, weight by weight; ``print(report)`` shows a table.

    Attributes:
        rows: one row for each weight that could be converted, in the order of the model.
    """

    rows: tuple[ConversionRow, ...]

    def __iter__(self) -> Iterator[ConversionRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> ConversionRow:
        """Return the row of a weight by its name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"expected one of {[row.name for row in self.rows]}, found {name!r}")

    @property
    def bytes_before(self) -> int:
        """Memory of all weights before, in bytes."""
        return sum(row.bytes_before for row in self.rows)

    @property
    def bytes_after(self) -> int:
        """Memory of all weights afterwards, in bytes."""
        return sum(row.bytes_after for row in self.rows)

    def __str__(self) -> str:
        lines = [("weight", "shape", "density", "KB before", "KB after", "error", "")]
        for row in self.rows:
            size = "{} x {}".format(*row.shape)
            kilobytes = f"{row.bytes_before / 1e3:.1f}", f"{row.bytes_after / 1e3:.1f}"
            shares = f"{row.density:.3g}", *kilobytes, f"{row.error:.2g}"
            lines.append((row.name, size, *shares, row.note))
        sums = f"{self.bytes_before / 1e3:.1f}", f"{self.bytes_after / 1e3:.1f}"
        lines.append(("all", "", "", *sums, "", ""))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                text.rjust(width) if 2 <= at < 6 else text.ljust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
