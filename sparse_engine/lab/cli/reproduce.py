"""Command ``sparse-engine reproduce``: published experiments, ours beside theirs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse_engine.files import write_atomically
from sparse_engine.lab.experiments import EXPERIMENTS, Plan, report, table


@dataclass(frozen=True)
class Reproduce:
    """Run a published experiment with several seeds, and print our numbers beside theirs.

    Runs are kept below --out: the same command goes on where it was interrupted, and with more
    seeds makes only the new ones.

    Example: sparse-engine reproduce

    Example: sparse-engine reproduce zhang-mackey-glass --seeds 5

    Example: sparse-engine reproduce zhang-gesture --settings steps 280 --out runs/short
    """

    name: Annotated[  # type: ignore[valid-type]
        tyro.conf.Positional[Literal[tuple(EXPERIMENTS)] | None],
        tyro.conf.arg(metavar="[NAME]"),
    ] = None
    """What to reproduce; without it, all experiments are listed."""
    seeds: int = 5
    """Number of seeds, 0 and up."""
    workers: int = 0
    """Processes, each with its share of the cores; 0 for one on each core."""
    settings: Annotated[
        Mapping[str, int | float | str], tyro.conf.arg(metavar="NAME VALUE ...")
    ] = field(default_factory=dict)
    """Settings that replace the published ones, such as steps 100 for a quick look."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder of the runs; by default runs/reproduce/NAME."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for the report, such as results.json."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        if self.name is None:
            print(_listing())
            return 0
        if self.seeds < 1 or self.workers < 0:
            raise ValueError(
                "expected --seeds of at least 1 and --workers of at least 0, found "
                f"{self.seeds} and {self.workers}"
            )
        experiment = EXPERIMENTS[self.name]
        plan = Plan(
            self.out or Path("runs/reproduce", self.name),
            range(self.seeds),
            self.workers or None,
            self.settings,
        )
        began = time.perf_counter()
        try:
            rows = experiment.rows(plan)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on with the experiment")
            return 130
        seconds = time.perf_counter() - began
        print(f"{experiment.summary}\n{experiment.source}\n\n{table(rows)}\n")
        print(f"wall time {seconds:.0f} s, runs in {plan.folder}")
        if self.json is not None:
            record = report(experiment, plan, rows, seconds)
            write_atomically(self.json, json.dumps(record, indent=1).encode())
        return 0


def _listing() -> str:
    """Return the names and summaries of all experiments, below the publication of each."""
    width = max(map(len, EXPERIMENTS))
    by_source: dict[str, list[str]] = {}
    for name, experiment in EXPERIMENTS.items():
        line = f"  {name:{width}}  {experiment.summary}"
        by_source.setdefault(experiment.source, []).append(line)
    return "\n\n".join("\n".join([source, *lines]) for source, lines in by_source.items())
