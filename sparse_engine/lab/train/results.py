"""Results of runs in their folders: result.json, and what a comparison reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sparse_engine.files import write_atomically
from sparse_engine.lab.tasks import Task
from sparse_engine.lab.train.config import Config
from sparse_engine.lab.train.log import Scores, read_metrics
from sparse_engine.lab.train.run import Result

RESULT = "result.json"


def record_result(folder: Path, result: Result) -> Result:
    """Write a run's result to result.json, and return it with the seconds of all recorded calls."""
    earlier = read_result(folder)
    total = result.seconds + (earlier.seconds if earlier else 0.0)
    result = replace(result, seconds=total)
    write_atomically(folder / RESULT, json.dumps(asdict(result), indent=1).encode())
    return result


def read_result(folder: Path) -> Result | None:
    """Return the result that was recorded last, or None if there is none."""
    try:
        return Result(**json.loads((folder / RESULT).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class StoredRun:
    """Run in a folder, as far as it has come; seconds are None where they were not recorded."""

    folder: Path
    config: Config
    entries: Sequence[Mapping[str, Any]]
    scores: Scores
    seconds: float | None

    @property
    def task(self) -> Task:
        """The run's task."""
        return self.config.task

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return bool(self.entries) and self.config.is_over(self.scores.last["step"], self.scores)


def read_runs(paths: Iterable[Path]) -> list[StoredRun]:
    """Read the runs in folders, at any depth, such as those of sweeps, in the order of the paths.

    Raises:
        ValueError: a path without a run, a damaged file, or a task that is not in ``TASKS``.
    """
    folders: dict[Path, None] = {}
    for path in paths:
        found = sorted(each.parent for each in path.rglob("config.json"))
        if not found:
            raise ValueError(f"expected the folder of a run or of a sweep, found no run in {path}")
        folders |= dict.fromkeys(each.resolve() for each in found)
    return [_read_run(folder) for folder in folders]


def _read_run(folder: Path) -> StoredRun:
    path = folder / "config.json"
    try:
        config = Config.from_json(json.loads(path.read_bytes()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"expected the settings of a run in {path}, found: {error}") from error
    metrics = folder / "metrics.jsonl"
    result = read_result(folder)
    return StoredRun(
        folder,
        config,
        read_metrics(metrics),
        Scores(metrics, config.task.higher_is_better, steps=config.steps),
        None if result is None else result.seconds,
    )
