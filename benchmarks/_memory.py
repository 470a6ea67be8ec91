"""Memory that a call takes beyond that of its process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

PROCESS = Path("/proc/self")
FORGET_PEAK = "5"

Result = TypeVar("Result")


def extra_bytes(run: Callable[[], object]) -> int | None:
    """The most that was resident while ``run`` ran, less what was before; None without Linux.

    The peak that ``getrusage`` knows is of no use here: it also covers what was there and freed
    before, and a new process inherits it from the one that started it.
    """
    if not (PROCESS / "clear_refs").exists():
        return None
    before = _status("VmRSS")
    return peak_bytes(run) - before


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that was resident while ``run`` ran; needs Linux."""
    (PROCESS / "clear_refs").write_text(FORGET_PEAK)
    run()
    return _status("VmHWM")


def in_new_process(function: Callable[..., Result], *args: object) -> Result:
    """``function(*args)`` in a process of its own, which has freed nothing that could be reused."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def _status(entry: str) -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith(f"{entry}:"))
    return 1024 * int(kibibytes)
