"""Logs of a run, one JSON object per line, and the best of their entries."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from sparse_engine.files import naming, write_atomically


class MetricsLog:
    """Log that appends entries to a file such as metrics.jsonl.

    Entries after the steps taken are removed, because a resumed run takes those steps again.
    """

    def __init__(self, path: Path, *, steps: int = 0) -> None:
        kept = [entry for entry in read_metrics(path) if entry["step"] <= steps]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_atomically(path, lines.encode())
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def write(self, entry: Mapping[str, object]) -> None:
        """Append an entry, which must have an integer ``step``."""
        end = self._file.tell()
        rest = memoryview(json.dumps(entry).encode() + b"\n")
        try:
            with naming(self._file.name):
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        """Write the log to disk and close it."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def read_metrics(path: str | Path) -> list[dict]:
    """Return all entries of a log, without a last line that a kill cut short.

    Raises:
        ValueError: another line is no entry; names the first such line.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry["step"], int):
                raise TypeError
        except (ValueError, TypeError, KeyError, RecursionError):
            if number < len(lines):
                raise ValueError(
                    f"expected an entry with a step in line {number} of {path}, found "
                    f"{line[:80].decode(errors='replace')!r}; restore the file from a copy"
                ) from None
        else:
            entries.append(entry)
    return entries


class Scores:
    """Entries of metrics.jsonl up to a step: the last, and that of the best validation metric.

    The best is that of the evaluations with the fewest links, so that where a method prunes no
    model counts that is denser than those that come later.
    """

    def __init__(self, path: Path, higher_is_better: bool, *, steps: int) -> None:
        self._sign = -1 if higher_is_better else 1
        self.best: dict = {}
        self.last: dict = {}
        self.since_best = 0
        for entry in read_metrics(path):
            if not isinstance(entry.get("metric"), int | float):
                raise ValueError(
                    f"expected a metric in the entry of step {entry['step']} of {path}, found "
                    f"{entry.get('metric')!r}; restore the file from a copy"
                )
            if entry["step"] <= steps:
                self.add(entry)

    def add(self, entry: dict) -> None:
        """Add an evaluation; ``since_best`` counts those after the best one."""
        self.last = entry
        self.since_best += 1
        pruned = self.best.get("nnz", 0) - entry.get("nnz", 0)
        new, best = self._sign * entry["metric"], self._sign * self.best.get("metric", math.nan)
        better = new == new and not best <= new  # a metric of NaN is never the best
        if not self.best or pruned > 0 or (pruned == 0 and better):
            self.best, self.since_best = entry, 0
