"""Prints a benchmark's JSON as Markdown: ``python -m benchmarks.table FILE [COLUMN]...``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks._report import as_text
from benchmarks._report import columns as columns_of


def markdown(record: dict, columns: list[str]) -> str:
    """The rows of a record with a line on the machine; all columns when none are named."""
    rows, machine = record["rows"], record["machine"]
    columns = columns or columns_of(rows)
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(as_text(row.get(c)) for c in columns) + " |" for row in rows),
        "",
        f"{machine['date']}, {machine['processor']}, {machine['threads']} threads, "
        f"{machine['isa']}, torch {machine['torch']}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2:]))
