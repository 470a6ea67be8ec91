"""Commands ``sparse-engine train`` and ``resume``: training runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union

import torch
import tyro

from sparse_engine.analysis import Balance
from sparse_engine.lab.tasks import TASKS
from sparse_engine.lab.train import Checkpoint, Config, Run, record_result
from sparse_engine.lab.train.ranks import joined, rank

# More threads than any machine has: OpenMP ends the process where it cannot start them.
MOST_THREADS = 1024


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not change its result."""

    threads: int = 0
    """CPU threads, of which a small network takes one; 0 leaves the choice to PyTorch."""
    balance_every: int = 0
    """Rewirings between records of the balance, in topology.jsonl and balance.png; 0 for none."""
    tensorboard: bool = False
    """Write events for TensorBoard into the run's folder, too."""

    def run(self, folder: Path, config: Config, *, resume: bool) -> int:
        """Train, print the result, and return the exit status; torchrun's ranks train together."""
        with joined():
            return self._run(folder, config, resume=resume)

    def _run(self, folder: Path, config: Config, *, resume: bool) -> int:
        if not 0 <= self.threads <= MOST_THREADS:
            raise ValueError(f"expected --threads in [0, {MOST_THREADS}], found {self.threads}")
        if self.balance_every < 0:
            raise ValueError(f"expected --balance-every of at least 0, found {self.balance_every}")
        if self.threads:
            torch.set_num_threads(self.threads)
        measures = [Balance(every=self.balance_every)] if self.balance_every else []
        board = self.tensorboard
        run = Run(folder, config, measures=measures, tensorboard=board, resume=resume)
        result = run.train()
        status = 0 if result.finished else 130
        if rank() > 0:
            return status
        result = record_result(folder, result)
        if not result.finished:
            print(f"interrupted at step {run.step} of {config.steps}; go on with --resume")
        metric = config.task.metric
        shown = {
            f"{kind} {split} {metric}": f"{entry[split][metric]:.4g}"
            for kind, entry in (("last", result.last), ("best", result.best))
            for split in config.task.splits
        }
        shown["best at step"] = f"{result.best['step']:,}"
        shown["links"] = f"{result.nnz:,}"
        shown["time"] = f"{result.seconds:.1f} s"
        shown["peak memory"] = f"{result.peak_bytes / 1e6:.0f} MB"
        shown["written to"] = str(folder)
        print("\n".join(f"{name:28} {value}" for name, value in shown.items()))
        return status


@dataclass(frozen=True)
class TrainTask:
    """Train a sparse network on this task.

    Writes a run folder: config.json, metrics.jsonl, topology.jsonl, a checkpoint, the best model,
    and with matplotlib installed curve.png and adjacency.png. Ctrl-C ends a run safely; --resume
    goes on with it, bit for bit.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path
    """The run's folder."""
    resume: bool = False
    """Go on with the run in --out."""
    options: Annotated[RunOptions, tyro.conf.arg(name="")] = field(default_factory=RunOptions)

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        return self.options.run(self.out, self.config, resume=self.resume)


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was interrupted, with the settings in its folder.

    Example: sparse-engine resume runs/gesture
    """

    folder: tyro.conf.Positional[Path]
    """The run's folder."""
    options: Annotated[RunOptions, tyro.conf.arg(name="")] = field(default_factory=RunOptions)

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        config = Config.from_json(Checkpoint.load(self.folder).config)
        return self.options.run(self.folder, config, resume=True)


def per_task(command: type, make: Callable[[str], object]) -> Any:
    """Return the type of a command for every task, with the defaults that ``make`` gives it."""
    commands = (
        Annotated[command, tyro.conf.subcommand(name, default=make(name), description=task.summary)]
        for name, task in TASKS.items()
    )
    return Union[tuple(commands)]  # noqa: UP007


AnyTask = per_task(TrainTask, lambda name: TrainTask(Config.published(name), Path("runs", name)))


@dataclass(frozen=True)
class Train:
    """Train a sparse network on a task, with the settings of its published run as defaults.

    Example: sparse-engine train mackey-glass --hidden 256 --density 0.02 --out runs/wide

    Example: sparse-engine train mackey-glass --cell lstm --method rigl --fraction 0.3

    Example: sparse-engine train mackey-glass --method pruning --density 1 --out runs/pruned

    Example: torchrun --nproc-per-node 2 -m sparse_engine train digits --out runs/two-ranks
    """

    task: AnyTask  # type: ignore[valid-type]

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        return self.task()  # type: ignore[misc]
