"""Results of runs in their folders: result.json, and what a comparison reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from sparse_engine.files import write_atomically
from sparse_engine.lab.tasks import Task, seeded
from sparse_engine.lab.train.checkpoint import Checkpoint
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
    """Run in a folder, as far as it has come."""

    folder: Path
    config: Config

    @property
    def task(self) -> Task:
        """The run's task."""
        return self.config.task

    @cached_property
    def entries(self) -> list[dict]:
        """The entries of metrics.jsonl."""
        return read_metrics(self.folder / "metrics.jsonl")

    @cached_property
    def rewirings(self) -> list[dict]:
        """The records of topology.jsonl."""
        return read_metrics(self.folder / "topology.jsonl")

    @cached_property
    def scores(self) -> Scores:
        """The last entry, and that of the best validation metric."""
        path = self.folder / "metrics.jsonl"
        return Scores(path, self.task.higher_is_better, steps=self.config.steps)

    @cached_property
    def seconds(self) -> float | None:
        """The time of training, None where it was not recorded."""
        result = read_result(self.folder)
        return None if result is None else result.seconds

    def model(self) -> nn.Module:
        """Return the model of the last checkpoint, in evaluation mode."""
        model = self.task.build(self.config.network, generator=seeded(self.config.seed))
        model.load_state_dict(Checkpoint.load(self.folder).model)
        return model.eval()

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
    run = StoredRun(folder, config)
    _ = run.scores  # a damaged file is refused here
    return run
