"""The measurements on a device so far, in one file, so that a run that ends can go on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._report import Row, machine
from sparse_engine.files import write_atomically


@dataclass
class Record:
    """The content of the file, which is written after every change.

    Attributes:
        path: the file.
        about: the device, the machine and the software.
        checks: the end of what each check printed, and whether it passed, by name.
        rows: the rows of each case that is done, by the name of the case.
        failures: what went wrong, by the name of the case.
        begun: the case that runs now; one that a new process finds here took the process with it.
    """

    path: Path
    about: dict[str, object] = field(default_factory=dict)
    checks: dict[str, dict[str, object]] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    begun: str | None = None

    @classmethod
    def of(cls, path: Path, about: dict[str, object]) -> Record:
        """Read the file, or begin a new one where there is none or it tells of something else."""
        if path.exists():
            found = json.loads(path.read_text())
            if found["about"] == about:
                del found["benchmark"], found["machine"]
                return cls(path, **found)
        return cls(path, about)

    def write(self) -> None:
        """Write the file."""
        content = {"benchmark": "gpu", "machine": machine(), **vars(self)}
        del content["path"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def is_done(self, case: str) -> bool:
        """Whether a case was measured, or failed, before."""
        return case in self.rows or case in self.failures

    def all_rows(self) -> list[Row]:
        """The rows of all cases."""
        return [row for rows in self.rows.values() for row in rows]
