"""Logs of a run, one JSON object per line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from sparse_engine.files import naming, write_atomically


class MetricsLog:
    """Log that appends entries to a file such as metrics.jsonl.

    Args:
        path: path of the file, which is made if it does not exist.
        steps: number of steps taken; entries of later steps are removed, because a resumed run
            takes those steps again.
    """

    def __init__(self, path: Path, *, steps: int = 0) -> None:
        kept = [entry for entry in read_metrics(path) if entry["step"] <= steps]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_atomically(path, lines.encode())
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def write(self, entry: Mapping[str, object]) -> None:
        """Append an entry, which must have an integer ``step``.

        Raises:
            OSError: the line cannot be written, as on a full disk; the file stays as it was.
        """
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
            entries.append(_entry(line))
        except ValueError:
            if number < len(lines):
                raise ValueError(
                    f"expected an entry with a step in line {number} of {path}, found "
                    f"{line[:80].decode(errors='replace')!r}; restore the file from a copy"
                ) from None
    return entries


def log_hash(path: Path, *, steps: int) -> str:
    """Return the SHA-256 of a log without its last lines of later steps.

    The file is written to disk first. A file that does not exist counts as empty.
    """
    if not path.exists():
        return hashlib.sha256().hexdigest()
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        lines = file.read().splitlines(keepends=True)
    while lines and _is_later(lines[-1], steps):
        lines.pop()
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _is_later(line: bytes, steps: int) -> bool:
    """Whether a last line is of a later step, or was cut short by a kill."""
    try:
        return not line.endswith(b"\n") or _entry(line)["step"] > steps
    except ValueError:
        return False


def _entry(line: bytes) -> dict:
    try:
        entry = json.loads(line)
    except RecursionError as error:
        raise ValueError from error
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        raise ValueError
    return entry
