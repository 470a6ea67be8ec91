"""What a run tells along its way, one JSON object per line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from sparse_engine.files import write_atomically


class MetricsLog:
    """Appends to a file such as metrics.jsonl.

    Args:
        path: the file; made if it does not exist.
        steps: entries of later steps are removed first: they belong to steps that a resumed run
            takes again.
    """

    def __init__(self, path: Path, *, steps: int = 0) -> None:
        kept = [entry for entry in read_metrics(path) if entry["step"] <= steps]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_atomically(path, lines.encode())
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, entry: Mapping[str, object]) -> None:
        """Adds one line; the entry must have a ``step``, a whole number."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Ends the log, on disk."""
        os.fsync(self._file.fileno())
        self._file.close()


def read_metrics(path: str | Path) -> list[dict]:
    """All entries of a metrics file; a last line that a kill cut short is left out.

    Raises:
        ValueError: another line is not an entry; names the first one.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(_entry(line))
        except ValueError:
            if number < len(lines):
                raise ValueError(
                    f"expected an entry with a step in line {number} of {path}, found {line[:80]!r}"
                ) from None
    return entries


def _entry(line: str) -> dict:
    entry = json.loads(line)
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        raise ValueError
    return entry
