"""Command ``sparse-engine sweep``: runs for every combination of some settings."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse_engine.lab.cli.train import per_task
from sparse_engine.lab.train import METHODS, Config, Job, compare, read_runs, run_all, sweep
from sparse_engine.nn import CELLS


@dataclass(frozen=True)
class SweepTask:
    """Train on this task with every combination of seeds, densities, methods and cells.

    The runs go on in several processes, each in a folder of its own. The same command goes on after
    Ctrl-C or a crash: finished runs are not repeated, interrupted ones are resumed.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path
    """The sweep's folder."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, in place of --seed."""
    densities: tuple[float, ...] = ()
    """Densities, in place of --density and --final-density; methods that prune start dense."""
    methods: tuple[Literal[tuple(METHODS)], ...] = ()  # type: ignore[valid-type]
    """Methods, in place of --method."""
    cells: tuple[Literal[tuple(CELLS)], ...] = ()  # type: ignore[valid-type]
    """Recurrent cells, in place of --cell."""
    workers: int = 0
    """Processes; 0 for one for each core. The threads of torch are shared out among them."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        if self.workers < 0:
            raise ValueError(f"expected --workers of at least 0, found {self.workers}")
        lists = {
            "cell": self.cells,
            "method": self.methods,
            "density": self.densities,
            "seed": self.seeds,
        }
        jobs = sweep(self.config, self.out, **{name: each for name, each in lists.items() if each})
        failed = 0

        def report(job: Job, error: Exception) -> None:
            nonlocal failed
            failed += 1
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"sparse-engine: {job.folder}: {reason}", file=sys.stderr)

        try:
            for _ in run_all(jobs, workers=self.workers or None, on_error=report):
                pass
        except KeyboardInterrupt:
            print("interrupted; the same command goes on with the sweep")
            return 130
        if failed < len(jobs):
            runs = read_runs(job.folder for job in jobs if job.result())
            print(compare(runs).text())
        print(f"written to {self.out}")
        return 1 if failed else 0


AnyTask = per_task(
    SweepTask, lambda name: SweepTask(Config.published(name), Path("runs", f"sweep-{name}"))
)


@dataclass(frozen=True)
class Sweep:
    """Train on a task with every combination of seeds, densities, methods and cells.

    Example: sparse-engine sweep gesture --methods set rigl static --seeds 0 1 2 3 4

    Example: sparse-engine sweep digits --cells rnn lstm --densities 0.05 0.01 --workers 2
    """

    task: AnyTask  # type: ignore[valid-type]

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        return self.task()  # type: ignore[misc]
