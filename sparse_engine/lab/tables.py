"""Tables of text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def shown(value: float | None, form: str = ".4g") -> str:
    """Return a number as text, "-" for None."""
    return "-" if value is None else format(value, form)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column begins, and whose other columns end, at one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)
