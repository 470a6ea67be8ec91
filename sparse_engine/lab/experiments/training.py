"""Published experiments: variants of settings that are trained with several seeds, and reports."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from sparse_engine import machine
from sparse_engine.lab.train import Checkpoint, Config, Job, Result, Run, read_metrics, run_all
from sparse_engine.lab.train.pictures import drawing
from sparse_engine.lab.train.run import MethodFactory
from sparse_engine.topology import Measure


@dataclass(frozen=True)
class Row:
    """Quantity of one variant of an experiment, measured once for each seed.

    Seconds are the time of each run, empty for a further quantity of the same runs.
    """

    variant: str
    quantity: str
    values: Sequence[float]
    published: float | None = None
    higher_is_better: bool | None = None
    seconds: Sequence[float] = ()
    note: str = ""

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation over seeds, 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def reached(self) -> bool | None:
        """Whether our mean is at least as good as the published value; None if none can be."""
        if self.published is None or self.higher_is_better is None:
            return None
        return self.mean >= self.published if self.higher_is_better else self.mean <= self.published


@dataclass(frozen=True)
class Plan:
    """Conditions of a reproduction: folder, seeds, processes, and settings of every run.

    Runs in the folder are resumed, and finished ones not repeated.
    """

    folder: Path
    seeds: Sequence[int] = tuple(range(5))
    workers: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Experiment(ABC):
    """Published experiment that ``sparse-engine reproduce`` runs by its name."""

    name: str
    summary: str
    source: str

    @abstractmethod
    def rows(self, plan: Plan) -> list[Row]:
        """Run the experiment, or what is left of it, and return what was measured."""


def report(experiment: Experiment, plan: Plan, rows: Sequence[Row], seconds: float) -> dict:
    """Return a record of a reproduction, of so many seconds in all, with values for JSON."""
    return {
        "experiment": experiment.name,
        "summary": experiment.summary,
        "source": experiment.source,
        "command": f"sparse-engine reproduce {experiment.name} --seeds {len(plan.seeds)}",
        "seeds": list(plan.seeds),
        "settings": dict(plan.settings),
        "date": date.today().isoformat(),
        "machine": machine.info(),
        "seconds": seconds,
        "rows": [
            {**asdict(row), "values": [_number(value) for value in row.values]} for row in rows
        ],
    }


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if math.isnan(value) else value


def read_rows(report: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a :func:`report`."""
    nan = float("nan")
    return [
        Row(**{**row, "values": [nan if value is None else value for value in row["values"]]})
        for row in report["rows"]
    ]


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of ours beside theirs."""
    lines = [
        "| variant | quantity | published | ours, mean ± sd | seeds | reached | s per run | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        reached = {None: "", True: "yes", False: "no"}[row.reached]
        published = "" if row.published is None else f"{row.published:.4g}"
        seconds = f"{statistics.fmean(row.seconds):.0f}" if row.seconds else ""
        lines.append(
            f"| {row.variant} | {row.quantity} | {published} | {row.mean:.4g} ± "
            f"{row.deviation:.2g} | {len(row.values)} | {reached} | {seconds} | {row.note} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Finished:
    """Run that is finished: its folder, settings and result."""

    folder: Path
    config: Config
    result: Result

    @property
    def entries(self) -> list[dict]:
        """The entries of metrics.jsonl."""
        return read_metrics(self.folder / "metrics.jsonl")

    def model(self) -> nn.Module:
        """Return the trained model, in evaluation mode."""
        generator = torch.Generator().manual_seed(self.config.seed)
        model = self.config.task.build(self.config.network, generator=generator)
        model.load_state_dict(Checkpoint.load(self.folder).model)
        return model.eval()

    @property
    def rewirings(self) -> list[dict]:
        """The records of topology.jsonl."""
        return read_metrics(self.folder / "topology.jsonl")


@dataclass(frozen=True)
class Quantity:
    """Number that is taken from a finished run; a greater one is better, worse, or neither."""

    name: str
    of: Callable[[Finished], float]
    higher_is_better: bool | None = None


def trained(folder: Path, config: Config, method: MethodFactory) -> Finished:
    """Make a run, or what is left of it, with a method that settings cannot describe."""
    begun = (folder / "checkpoint.json").exists()
    result = Run(folder, config, method=method, resume=begun).train(progress=False)
    if not result.finished:
        raise KeyboardInterrupt
    return Finished(folder, config, result)


def last_ten(split: str, metric: str, higher_is_better: bool) -> Quantity:
    """Return the mean of a metric over the last ten evaluations, as Zhang et al. report it."""

    def of(run: Finished) -> float:
        return fmean(entry[split][metric] for entry in run.entries[-10:])

    return Quantity(f"{split} {metric}, mean of last 10", of, higher_is_better)


def best_on_validation(split: str, metric: str, higher_is_better: bool) -> Quantity:
    """Return a metric at the evaluation whose validation metric is best."""
    name = f"{split} {metric}, best on validation"
    return Quantity(name, lambda run: run.result.best[split][metric], higher_is_better)


def at_end(split: str, measure: str, higher_is_better: bool) -> Quantity:
    """Return a measure at the end of a run."""
    name = f"{split} {measure.replace('_', ' ')} at the end"
    return Quantity(name, lambda run: run.result.last[split][measure], higher_is_better)


@dataclass(frozen=True)
class Variant:
    """Variant of an experiment: settings beside those of the task's published run.

    Published values are by the names of quantities; measures add to topology.jsonl.
    """

    name: str
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    note: str = ""

    def config(self) -> Config:
        """Return the settings of a run, whose seed is replaced."""
        return Config.published(self.task, **self.settings)


#: Runs by the name of their variant, a run for each seed.
Runs = Mapping[str, Sequence[Finished]]


@dataclass(frozen=True)
class TrainingExperiment(Experiment):
    """Experiment that trains each variant with each seed, and takes quantities from the runs.

    ``settings`` are those of every variant, ``numbered`` the names of settings whose value is the
    seed. ``draw`` draws pictures into a folder, ``further`` returns rows of all runs together.
    """

    name: str
    summary: str
    source: str
    variants: Sequence[Variant]
    quantities: Sequence[Quantity]
    settings: Mapping[str, Any] = field(default_factory=dict)
    numbered: Sequence[str] = ()
    draw: Callable[[Path, Runs], None] | None = None
    further: Callable[[Runs], list[Row]] | None = None

    def rows(self, plan: Plan) -> list[Row]:
        """Train what is not trained yet, draw, and return every quantity of every variant."""
        runs = self.train(plan)
        if self.draw is not None:
            with drawing():
                self.draw(plan.folder, runs)
        rows = [
            Row(
                variant.name,
                quantity.name,
                [quantity.of(run) for run in runs[variant.name]],
                published=variant.published.get(quantity.name),
                higher_is_better=quantity.higher_is_better,
                seconds=[run.result.seconds for run in runs[variant.name]] if not number else [],
                note=variant.note,
            )
            for variant in self.variants
            for number, quantity in enumerate(self.quantities)
        ]
        return rows + (self.further(runs) if self.further is not None else [])

    def train(self, plan: Plan) -> Runs:
        """Train what is not trained yet, and return the runs of each variant, a run per seed."""
        jobs = [
            Job(
                plan.folder / variant.name / f"seed{seed}",
                variant.config().replaced(
                    **{**self.settings, **plan.settings, **dict.fromkeys(self.numbered, seed)},
                    seed=seed,
                ),
                variant.measures,
            )
            for variant in self.variants
            for seed in plan.seeds
        ]
        results = {job.folder: result for job, result in run_all(jobs, workers=plan.workers)}
        runs = [Finished(job.folder, job.config, results[job.folder]) for job in jobs]
        each = len(plan.seeds)
        return {
            variant.name: runs[number * each : (number + 1) * each]
            for number, variant in enumerate(self.variants)
        }
