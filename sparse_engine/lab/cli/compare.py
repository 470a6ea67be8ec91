"""Command ``sparse-engine compare``: learning curves, a table and statistics of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse_engine.lab.train import compare, read_runs

RUNS_HELP = "Folders of runs, or folders that have them in them, such as those of sweeps."


@dataclass(frozen=True)
class Compare:
    """Compare runs of one task: groups of equal settings, over seeds.

    Prints a table: the test metric at the best validation metric, links, seconds, and each group
    against the baseline, paired by seed. Draws the learning curves.

    Example: sparse-engine compare runs/sweep-gesture --plot compare.png

    Example: sparse-engine compare runs/set* runs/static* --baseline static --json
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="RUN...", help=RUNS_HELP, help_behavior_hint=""),
    ]
    baseline: str | None = None
    """Group that the others are compared with, by its name in the table; by default the first."""
    split: str | None = None
    """Part of the data whose metric counts, such as validation; by default test if there is one."""
    at: Literal["best", "last"] = "best"
    """Evaluation that counts: that of the best validation metric, or the last, which is fairer
    where a method prunes: its best evaluation may have more links."""
    json: bool = False
    """Print one JSON object instead of a table."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None
    """Draw the learning curves with bands over the seeds, into this PNG file."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        if not self.runs:
            raise ValueError("expected the folder of a run, found none")
        compared = compare(
            read_runs(self.runs), baseline=self.baseline, split=self.split, at=self.at
        )
        print(compared.to_json() if self.json else compared.text())
        if self.plot is not None:
            from sparse_engine.lab import plot

            with plot.picture(self.plot) as axes:
                plot.comparison(compared, axes)
        return 0
