"""Going over cases of which any may fail, or take the process with it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from benchmarks._report import Row
from benchmarks.gpu.record import Record

#: What a process says that leaves cases to another one, because its device is of no more use.
LOST = 3


class Case(NamedTuple):
    """Something to measure.

    Attributes:
        name: what distinguishes it from all others.
        rows: measures it.
    """

    name: str
    rows: Callable[[], Iterable[Row]]


def go_over(cases: Iterable[Case], record: Record, deadline: float) -> None:
    """Measure each case that is not done, and write what came of it, until the deadline.

    Args:
        cases: what to measure, the most important first.
        record: where the rows go; a case that raises an error is noted there.
        deadline: ``time.time()`` after which no case begins.

    Raises:
        SystemExit: with :data:`LOST`, after an error of CUDA, which every later call would repeat.
    """
    for case in cases:
        if record.is_done(case.name):
            continue
        if time.time() > deadline:
            return
        record.begun = case.name
        record.write()
        lost = False
        try:
            record.rows[case.name] = list(case.rows())
        except Exception as error:
            record.failures[case.name] = f"{type(error).__name__}: {error}"[:500]
            lost = "CUDA" in str(error) and "out of memory" not in str(error)
        record.begun = None
        record.write()
        if lost:
            raise SystemExit(LOST)


def supervise(command: Sequence[str], read: Callable[[], Record], deadline: float) -> None:
    """Run a process that goes over cases, and another one for the rest where it breaks off.

    Args:
        command: what to run; it ends with 0 when no case is left, or no time.
        read: reads the record that the process writes.
        deadline: ``time.time()`` after which a process is ended, half a minute later at the most.
    """
    while time.time() < deadline:
        try:
            left = max(1.0, deadline + 30 - time.time())
            code = subprocess.run(command, check=False, timeout=left).returncode
            reason = f"the process ended with {code}"
        except subprocess.TimeoutExpired:
            code, reason = None, "the process did not end in time"
        record = read()
        if record.begun is not None:
            record.failures[record.begun] = reason
            record.begun = None
            record.write()
        elif code != LOST:
            return
