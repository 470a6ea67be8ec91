"""Saying what was measured, and on what."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from tqdm.auto import tqdm

from benchmarks._harness import Options, Timing
from sparse_engine import runtime
from sparse_engine.files import write_atomically

Row = Mapping[str, object]


def machine() -> dict[str, object]:
    """Describe the machine and the software of the measurements."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = next(iter(names), model)
    here = {"date": date.today().isoformat(), "processor": model, "cores": os.cpu_count()}
    return here | runtime.info()


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
