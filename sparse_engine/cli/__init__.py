"""Command line: ``sparse-engine train | analyze | distance | info``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from scipy.sparse.linalg import ArpackError

from sparse_engine import runtime
from sparse_engine.analysis import Balance
from sparse_engine.cli.analyze import Analyze
from sparse_engine.cli.distance import Distance
from sparse_engine.memory import asking_for
from sparse_engine.tasks import TASKS
from sparse_engine.topology import Rewiring
from sparse_engine.train import METHODS, MethodOptions, Run, Settings

DESCRIPTION = "Truly sparse recurrent networks: train, analyze, and see what they run on."
DEFAULTS = Settings()
# More threads than any machine has: OpenMP ends the process where it cannot start them.
MOST_THREADS = 1024
METHOD_HELP = "How the wiring changes. " + "; ".join(
    f"{n}: {m.summary}" for n, m in METHODS.items()
)


@dataclass(frozen=True)
class Train:
    """Train a sparse recurrent network on a task.

    Writes a run folder: config.json, metrics.jsonl, topology.jsonl, a checkpoint, and with
    matplotlib installed curve.png and adjacency.png. Ctrl-C ends a run safely; --resume goes on
    with it, bit for bit.

    Example: sparse-engine train mackey-glass --hidden 256 --density 0.02 --out runs/wide

    Example: sparse-engine train mackey-glass --method rigl --fraction 0.3 --out runs/rigl

    Example: sparse-engine train mackey-glass --method pruning --density 1 --out runs/pruned
    """

    task: tyro.conf.Positional[Literal[tuple(TASKS)]]  # type: ignore[valid-type]
    """Task to learn. mackey-glass: forecast 50 values of a chaotic series from 500."""
    hidden: int = DEFAULTS.hidden
    """Units of the recurrent layer."""
    density: float = DEFAULTS.density
    """Fraction of the recurrent weights that exist at the start, in (0, 1]."""
    final_density: float = DEFAULTS.density
    """Fraction that exists at the end with the methods granet and pruning, in (0, 1]."""
    method: Annotated[  # type: ignore[valid-type]
        Literal[tuple(METHODS)],
        tyro.conf.arg(metavar="NAME", help=f"{METHOD_HELP}."),
    ] = "set"
    fraction: float = 0.2
    """Fraction of the links that each rewiring replaces, in [0, 1]; with many methods it falls."""
    every: int = 60
    """Steps from one rewiring to the next, fewer than --steps; the last step does not rewire."""
    steps: int = DEFAULTS.steps
    """Training steps in all."""
    learning_rate: float = DEFAULTS.learning_rate
    """Adam's learning rate at the start; it falls along half a cosine to 0."""
    gain: float = DEFAULTS.gain
    """Scale of the initial recurrent weights, U(-g, g) / sqrt(fan-in)."""
    seed: int = DEFAULTS.seed
    """Seed of the wiring, the values and the rewiring."""
    threads: int = 0
    """CPU threads; 0 leaves the choice to PyTorch. The result does not depend on it."""
    balance_every: int = 0
    """Rewirings between records of the balance, in topology.jsonl and balance.png; 0 for none."""
    out: Path = Path("runs/mackey-glass")
    """The run's folder."""
    resume: bool = False
    """Go on with the run in --out."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        if self.threads < 0:
            raise ValueError(f"expected --threads of at least 0, found {self.threads}")
        if self.threads > MOST_THREADS:
            raise ValueError(f"expected --threads of at most {MOST_THREADS}, found {self.threads}")
        if self.hidden >= 2**31:
            raise ValueError(f"expected --hidden below 2^31, found {self.hidden}")
        if self.balance_every < 0:
            raise ValueError(f"expected --balance-every of at least 0, found {self.balance_every}")
        if self.threads:
            torch.set_num_threads(self.threads)
        settings = Settings(
            hidden=self.hidden,
            density=self.density,
            gain=self.gain,
            steps=self.steps,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
        task = TASKS[self.task]()
        with asking_for(f"a network of {self.hidden} units at density {self.density}"):
            run = Run(
                self.out,
                task,
                settings,
                self._rewiring,
                description={
                    "name": self.method,
                    "fraction": self.fraction,
                    "every": self.every,
                    "final_density": self.final_density,
                },
                measures=[Balance(every=self.balance_every)] if self.balance_every else [],
                resume=self.resume,
            )
            result = run.train()
        if not result.finished:
            print(f"interrupted at step {run.step} of {self.steps}; go on with --resume")
        print(f"{task.metric:16} {result.metric:.3e}")
        print(f"{'links':16} {result.nnz:,}")
        print(f"{'time':16} {result.seconds:.1f} s")
        print(f"{'peak memory':16} {result.peak_bytes / 1e6:.0f} MB")
        print(f"{'written to':16} {self.out}")
        return 0 if result.finished else 130

    def _rewiring(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Rewiring:
        options = MethodOptions(
            fraction=self.fraction,
            every=self.every,
            steps=self.steps,
            density=self.density,
            final_density=self.final_density,
            seed=self.seed,
        )
        return METHODS[self.method].make(model, optimizer, options)


@dataclass(frozen=True)
class Info:
    """Print versions, the instruction set in use, threads and devices."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        for name, value in runtime.info().items():
            print(f"{name:14} {value}")
        return 0


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Analyze, tyro.conf.subcommand("analyze")]
    | Annotated[Distance, tyro.conf.subcommand("distance")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


# Errors that a user can correct: a value, a file, too large a network, a graph too symmetric for
# ARPACK.
MENDABLE = (ValueError, OSError, FloatingPointError, MemoryError, ArpackError)


def main(arguments: list[str] | None = None) -> int:
    """Run ``sparse-engine`` and return the exit status.

    Errors that a user can correct (a bad value, a missing or damaged file, too little memory, a
    closed pipe) print one line on stderr and give status 2.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _refuse("expected a reader of the output, found its pipe closed")
    except MENDABLE as error:
        return _refuse(" ".join(str(error).split()) or type(error).__name__)


def _run(arguments: list[str] | None) -> int:
    try:
        command: Callable[[], int] = tyro.cli(
            Command,
            prog="sparse-engine",
            description=DESCRIPTION,
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        return command()
    finally:
        _flush()


def _flush() -> None:
    """Flush stdout now, because a closed pipe or a full disk at exit would be a traceback."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        # The buffer still holds the output, and Python would try to write it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _refuse(reason: str) -> int:
    with suppress(OSError):  # stderr may be closed, too
        print(f"sparse-engine: {reason}", file=sys.stderr)
    return 2
