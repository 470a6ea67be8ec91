"""Result of a conversion: the model, and a report with a row for each weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn


@dataclass(frozen=True)
class ConversionRow:
    """Conversion of one weight.

    Attributes:
        shape: ``(out_features, in_features)``.
        density: fraction of the positions that hold a link afterwards; 1.0 for a dense weight.
        bytes_before: memory of the weight before, in bytes.
        bytes_after: memory of the weight afterwards, with its indices.
        error: Frobenius norm of the change of the weight, relative to that of the weight.
        note: why the weight was left as it is, or empty.
    """

    shape: tuple[int, int]
    density: float
    bytes_before: int
    bytes_after: int
    error: float
    note: str = ""


class ConversionReport(dict[str, ConversionRow]):
    """Rows of a converted model by the names of its weights; ``print(report)`` shows a table."""

    @property
    def bytes_before(self) -> int:
        """Memory of all weights before, in bytes."""
        return sum(row.bytes_before for row in self.values())

    @property
    def bytes_after(self) -> int:
        """Memory of all weights afterwards, in bytes."""
        return sum(row.bytes_after for row in self.values())

    def __str__(self) -> str:
        lines = [("weight", "shape", "density", "KB before", "KB after", "error", "")]
        for name, row in self.items():
            size = "{} x {}".format(*row.shape)
            kilobytes = f"{row.bytes_before / 1e3:.1f}", f"{row.bytes_after / 1e3:.1f}"
            lines.append(
                (name, size, f"{row.density:.3g}", *kilobytes, f"{row.error:.2g}", row.note)
            )
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


class Converted(NamedTuple):
    """Result of :func:`convert_model` and :func:`quantize`.

    Attributes:
        model: the model with sparse or quantized weights.
        report: sizes and errors, weight by weight; ``print(report)`` shows a table.
    """

    model: nn.Module
    report: ConversionReport


def bytes_of_links(nnz: int, rows: int, value_bytes: int) -> int:
    """Return the bytes of a weight's values, column indices and row pointers."""
    return nnz * (value_bytes + 4) + (rows + 1) * 8
