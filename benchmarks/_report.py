"""Saying what was measured, and on what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date

from tqdm.auto import tqdm

from benchmarks._harness import Options, Timing
from sparse_engine import machine as facts
from sparse_engine.files import write_atomically

Row = Mapping[str, object]


def machine() -> dict[str, object]:
    """Describe the machine and the software of the measurements."""
    return {"date": date.today().isoformat(), **facts.info()}


def where(machine: Mapping) -> str:
    """What a table says about the machine of a record; records of before do not have all of it."""
    parts = [
        f"{machine['processor']} ({machine['family']})"
        if "family" in machine
        else machine.get("processor"),
        " ".join(f"{level} {size}" for level, size in machine.get("caches", {}).items()),
        *(f"{machine[name]} {name}" for name in ("cores", "threads") if name in machine),
        machine.get("isa") or machine["instructions"],
        f"torch {machine['torch']}",
        f"commit {machine['commit']}" if machine.get("commit") else None,
    ]
    return ", ".join(part for part in parts if part)


def report(name: str, rows: Sequence[Row], options: Options, **more: object) -> None:
    """Prints the rows as a table; writes them with ``more`` as JSON where that was asked for."""
    here = machine()
    print(table(rows))
    print(", ".join(f"{key} {value}" for key, value in here.items()))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"benchmark": name, "machine": here, **more, "rows": list(rows)}
        write_atomically(options.json, (json.dumps(record, indent=1) + "\n").encode())


def quartiles(timings: Mapping[str, Timing]) -> dict[str, object]:
    """The entry of a row that holds all that is known of the times, for the JSON only."""
    return {"times": {name: asdict(timing) for name, timing in timings.items()}}


def columns(rows: Iterable[Row]) -> list[str]:
    """The names of what fits in a cell, in the order of first appearance."""
    return list(dict.fromkeys(k for row in rows for k, v in row.items() if not isinstance(v, dict)))


def table(rows: Sequence[Row]) -> str:
    """Aligned columns."""
    names = columns(rows)
    lines = [names, *([as_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def progress(cases: Sequence, name: str) -> tqdm:
    """A progress bar over the cases of a benchmark."""
    return tqdm(cases, desc=name, leave=False)


def as_text(value: object) -> str:
    """A number in as many digits as are worth reading."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "-" if value is None else str(value)
