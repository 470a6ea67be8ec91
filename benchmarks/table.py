"""Prints a benchmark's JSON as Markdown: ``python -m benchmarks.table FILE [COLUMN]...``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks._report import as_text, where
from benchmarks._report import columns as columns_of


def rows_of(record: dict) -> list[dict[str, object]]:
    """Return the rows of a contest, or of pytest-benchmark's cases.

    A case takes ``x first`` times as long as the first of its group, which is ours.
    """
    if "rows" in record:
        return record["rows"]
    first: dict[str, float] = {}
    rows = []
    for each in record["benchmarks"]:
        median = each["stats"]["median"]
        ours = first.setdefault(each["group"], median)
        parameters = {"by": "", "part": ""} | (each["params"] or {})
        rows.append(
            {
                "case": each["group"],
                "by": parameters["by"] or parameters["part"],
                "ms": 1e3 * median,
                "x first": median / ours,
                **each["extra_info"],
            }
        )
    return rows


def markdown(record: dict, columns: list[str]) -> str:
    """Return the rows of a record with a line on the machine; all columns when none are named."""
    rows = rows_of(record)
    machine = record["machine"] if "rows" in record else record["machine_info"]["benchmarks"]
    columns = columns or columns_of(rows)
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(as_text(row.get(c)) for c in columns) + " |" for row in rows),
        "",
        f"{machine['date']}, {where(machine)}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2:]))
