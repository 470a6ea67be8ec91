"""The folder of a run: one run each, described by its config.json."""

from __future__ import annotations

import json
from pathlib import Path

from sparse_engine.files import write_atomically
from sparse_engine.train.checkpoint import CheckpointError


def claim(folder: Path, config: dict[str, object], *, resume: bool) -> None:
    """Makes the folder of a new run, or checks that it holds the run to go on with.

    Args:
        folder: of the run.
        config: what defines the run; kept in config.json.
        resume: whether the run is there already.

    Raises:
        FileExistsError: a new run in a folder that has files in it.
        CheckpointError: no run to resume, or one that was started with another config.
    """
    path = folder / "config.json"
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(
                f"expected a new or empty folder, found {folder} with files in it; "
                "choose another with --out, or go on with --resume"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(config, indent=1).encode())
        return
    if not path.exists():
        raise CheckpointError(
            f"expected a run to resume in {folder}, found no config.json; "
            "name its folder with --out, or start a new run without --resume"
        )
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"expected JSON in {path}, found: {error}") from error
    wanted = json.loads(json.dumps(config))
    for name in wanted:
        if not isinstance(found, dict) or found.get(name) != wanted[name]:
            was = found.get(name) if isinstance(found, dict) else found
            raise CheckpointError(
                f"expected to resume {folder} with the settings it was started with, found "
                f"{name} = {wanted[name]} instead of {was}"
            )
