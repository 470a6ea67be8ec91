"""Folder of a run, in which one process at a time trains.

A folder holds a run from the moment when its first checkpoint is complete. The checkpoint also has
the settings, of which config.json is a readable copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sparse_engine.files import write_atomically
from sparse_engine.lab.train.checkpoint import TENSOR_FILE, Checkpoint, CheckpointError
from sparse_engine.lab.train.config import flattened

LOGS = ("metrics.jsonl", "topology.jsonl")
BEST = "best.safetensors"
#: Files that a kill may leave while a file is written.
PARTIAL = (
    r"\.(config\.json|checkpoint\.json|metrics\.jsonl|topology\.jsonl|best\.safetensors|"
    rf"{TENSOR_FILE})\.partial"
)
#: Files that a kill may leave before the first checkpoint is complete.
BEGINNING = rf"config\.json|checkpoint-0{{8}}\.safetensors|{PARTIAL}"


class RunFolder:
    """Folder and the settings of the run in it."""

    def __init__(self, path: Path, config: dict[str, object]) -> None:
        self.path = path
        self.config = json.loads(json.dumps(config))
        self._is_locked = False
        self._last = b""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes within the block; blocks may be nested."""
        if self._is_locked:
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            self._lock(descriptor)
            self._is_locked = True
            yield
        finally:
            self._is_locked = False
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"expected a folder that no other process trains in, found {self.path} in use; "
                "wait for the other, or choose another folder with --out"
            ) from None
        except OSError:
            # Some network file systems have no locks; checkpoints are still compared.
            pass

    def begin(self) -> None:
        """Make the folder of a new run, without the leftovers of a start that was killed."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.locked():
            if not self._is_beginning():
                raise FileExistsError(
                    f"expected a new or empty folder, found {self.path} with files in it; "
                    "choose another with --out, or go on with --resume"
                )
            self._clean()
            (self.path / "config.json").unlink(missing_ok=True)

    def find(self) -> Checkpoint | None:
        """Return the checkpoint to resume from, or None after a kill before the first one."""
        if not self.path.is_dir() or not any(self.path.iterdir()):
            raise CheckpointError(
                f"expected a run to resume in {self.path}, found no config.json; "
                "name its folder with --out, or start a new run without --resume"
            )
        with self.locked():
            if self._is_beginning():
                self._check_settings(self._read_config() or self.config)
                self._clean()
                return None
            checkpoint = Checkpoint.load(self.path)
            self._last = self._record()
            self._check_settings(checkpoint.config)
            if (self.path / "config.json").exists() and self._read_config() != checkpoint.config:
                raise CheckpointError(
                    f"expected {self.path / 'config.json'} as it was written, found it changed; "
                    "restore or remove it, for the checkpoint holds the settings, too"
                )
            self._clean()
            return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the logs to disk, then a checkpoint, and config.json if it does not exist."""
        self.check_unchanged()
        for name in LOGS:
            with contextlib.suppress(FileNotFoundError), open(self.path / name, "rb") as log:
                os.fsync(log.fileno())
        checkpoint.save(self.path)
        self._last = self._record()
        if not (self.path / "config.json").exists():
            write_atomically(self.path / "config.json", json.dumps(self.config, indent=1).encode())

    def check_unchanged(self) -> None:
        """Check that the checkpoint is the one that this process read or wrote last."""
        if self._record() != self._last:
            raise CheckpointError(
                f"expected the checkpoint in {self.path} as this run left it, found another; "
                "go on from there with --resume"
            )

    def _record(self) -> bytes:
        try:
            return (self.path / "checkpoint.json").read_bytes()
        except FileNotFoundError:
            return b""

    def _is_beginning(self) -> bool:
        """Whether the folder has only leftovers of a start, and no foreign config.json."""
        names = [path.name for path in self.path.iterdir()]
        return all(re.fullmatch(BEGINNING, name) for name in names) and (
            "config.json" not in names or self._read_config().keys() >= self.config.keys()
        )

    def _read_config(self) -> dict[str, object]:
        """Return the settings in config.json, empty if it is missing, damaged or foreign."""
        try:
            found = json.loads((self.path / "config.json").read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _clean(self) -> None:
        for path in self.path.iterdir():
            if re.fullmatch(PARTIAL, path.name):
                path.unlink()

    def _check_settings(self, found: dict[str, object]) -> None:
        there = flattened(found)
        for name, wanted in flattened(self.config).items():
            if there.get(name) != wanted:
                raise CheckpointError(
                    f"expected to resume {self.path} with the settings it was started with, found "
                    f"{name} = {wanted} instead of {there.get(name)}"
                )
