"""Commands that look at what there is: compare, watch, info, reproduce and wiring."""

from __future__ import annotations

import importlib.util
import json
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparse_engine.files import write_atomically
from sparse_engine.lab import doctor
from sparse_engine.lab.experiments import EXPERIMENTS, Plan, report, table
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
    """Evaluation that counts: that of the best validation metric at the fewest links, or the
    last."""
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


@dataclass(frozen=True)
class Wiring:
    """Compares a connectome with nulls of its wiring.

    Attributes:
        connectome: file of the connectome.
        build: function ``build(connectome, seed)`` that returns a score, as ``file.py:name``.
        types: column of the table of neurons, for a null that keeps degrees by type.
        seeds: number of seeds.
        folder: where scores are kept; an interrupted comparison goes on from there.
        plot: write a picture to this PNG file.
    """

    connectome: Annotated[Path, tyro.conf.Positional]
    build: Annotated[str, tyro.conf.Positional]
    types: str | None = None
    seeds: int = 10
    folder: Path | None = None
    plot: Path | None = None

    def __call__(self) -> int:
        """Print a table of the differences."""
        from sparse_engine import connectome as c

        nulls = [*c.NULLS, *([] if self.types is None else [c.SameDegreesAndTypes(self.types)])]
        build, brain = _function(self.build), c.read(self.connectome)
        given: dict[str, Any] = {"seeds": range(self.seeds), "folder": self.folder}
        found = c.compare(build, brain, nulls=nulls, **given)
        print(found)
        if self.plot is not None:
            from sparse_engine.lab import plot

            with plot.picture(self.plot) as axes:
                plot.wiring(found, axes)
        return 0


def _function(name: str) -> Callable[..., float]:
    path, _, function = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path) if path else None
    if spec is None or spec.loader is None:
        raise ValueError(f"expected a function as file.py:name, found {name!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, function):
        raise ValueError(f"expected a function {function!r} in {path}, found none")
    found: Callable[..., float] = getattr(module, function)
    return found
