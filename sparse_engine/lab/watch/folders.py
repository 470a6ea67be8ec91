"""Folders of runs, and the files in them that may be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Files that make a folder the folder of a run.
MARKS = ("config.json", "metrics.jsonl", "topology.jsonl")
#: Most folders that are searched, and deepest level below the first.
MOST_FOLDERS, DEEPEST = 10_000, 6


class Runs:
    """Runs in a folder: those in its subfolders, or the folder itself if it is one."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"expected the folder of a run or of runs, found no {root}")
        self.root = root.resolve()

    def find(self) -> dict[str, Path]:
        """Return the folders of the runs now by name: the path below the root, or "."."""
        found: dict[str, Path] = {}
        for searched, (path, folders, files) in enumerate(os.walk(self.root)):
            folder = Path(path)
            name = folder.relative_to(self.root)
            if searched >= MOST_FOLDERS:
                break
            if any(mark in files for mark in MARKS):
                found[name.as_posix()] = folder
            folders[:] = sorted(folders) if len(name.parts) < DEEPEST else []
        return found

    def folder(self, name: str) -> Path:
        """Return the folder of a run that :meth:`find` knows; a name is never joined to a path."""
        found = self.find().get(name)
        if found is None:
            raise LookupError("expected the name of a run, found none of that name")
        return found


def read(folder: Path, name: str, *, most: int) -> bytes | None:
    """Return the last bytes, at most so many, of a regular file that is no link, or None."""
    try:
        # A named pipe would block the reader, and a link may point anywhere.
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(max(0, status.st_size - most))
            return file.read(most)
    finally:
        os.close(descriptor)


def is_regular(path: Path) -> bool:
    """Tell whether a path is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
