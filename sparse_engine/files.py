"""Atomic writing of files, and which sizes are plausible in a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# Row pointers of this many units take 80 MB.
ALWAYS_PLAUSIBLE = 10**7
UNITS_PER_LINK = 10


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, also after a kill."""
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, and put that file in the place of ``path`` afterwards."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with naming(path):
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
            _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the name of a file to errors of writing it, which a full disk's error lacks."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Write a folder's names to disk, so that a power failure does not undo a replacement."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plausible_units(links: int) -> int:
    """Return the largest number of units that is plausible for a file with so many links.

    A file with a single link may name unit 2,000,000,000, and row pointers of so many units would
    take 32 GB.
    """
    return max(ALWAYS_PLAUSIBLE, UNITS_PER_LINK * links)
