"""Writing files that are never seen half written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file such that readers, and a kill, see the old content or all of the new.

    Raises:
        OSError: the file cannot be written, as on a full disk; names it. The old content stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with naming(path):
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            _sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names a file in the errors of writing it; that of a full disk, for one, names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Puts the names in a folder on disk, so that a power failure does not undo a replacement."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
