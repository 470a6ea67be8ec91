"""The metrics of a run, one JSON object per line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sparse_engine.train.checkpoint import write_atomically


class MetricsLog:
    """Appends to metrics.jsonl.

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

    def write(self, **entry: object) -> None:
        """Adds one line."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Ends the log, on disk."""
        os.fsync(self._file.fileno())
        self._file.close()


def read_metrics(path: Path) -> list[dict]:
    """All entries of a metrics file; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
