"""Commands that look at what there is: ``sparse-engine compare``, ``watch`` and ``info``."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse_engine.lab import doctor
from sparse_engine.lab.train import compare, read_runs
from sparse_engine.lab.watch import Runs, serve


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
        tyro.conf.arg(metavar="RUN...", help_behavior_hint=""),
    ]
    """Folders of runs, or folders that have them in them, such as those of sweeps."""
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


@dataclass(frozen=True)
class Watch:
    """Serve a page with the curves and the wiring of runs while they train, on this machine only.

    Example: sparse-engine watch runs

    Args:
        folder: Folder of a run, or of runs.
        port: Port; 0 for one that is free.
        open: Open the page in a browser.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    port: int = 8474
    open: bool = False

    def __call__(self) -> int:
        """Serve until Ctrl-C, and return the exit status."""
        if not 0 <= self.port < 2**16:
            raise ValueError(f"expected --port in [0, 65535], found {self.port}")
        with serve(Runs(self.folder), self.port) as server:
            address = f"http://127.0.0.1:{server.server_port}/"
            print(f"{self.folder} at {address} (Ctrl-C ends)", flush=True)
            if self.open:
                webbrowser.open(address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print()
        return 0


@dataclass(frozen=True)
class Info:
    """Print what this installation consists of, what is wrong with it, and what to do about that.

    The exit status is 1 if something is broken. Where the other commands cannot be imported, they
    print this report, too.

    Args:
        json: Print a JSON object, for other programs.
    """

    json: bool = False

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        report = doctor.examine()
        print(report.json() if self.json else report.text())
        return report.status
