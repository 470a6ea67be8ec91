"""Published experiments: variants of settings that are trained with several seeds, and reports."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import islice, product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sparse_engine import machine
from sparse_engine.lab.train import Config, Job, StoredRun, run_all
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
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds, None for a single one."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def against_published(self) -> str:
        """Whether a single run, as most publications report one, would be as good as theirs.

        "same" if the published value lies within the 95 % prediction interval of a further run of
        ours, ``mean ± t sd sqrt(1 + 1/n)``; else "better" or "worse", and for a quantity without a
        direction "higher" or "lower". A single value is the "same" if it has the published digits,
        to a thousandth, and otherwise "not comparable". Empty without a published value.
        """
        if self.published is None:
            return ""
        if self.deviation is None or math.isnan(self.mean):
            equal = math.isclose(self.mean, self.published, rel_tol=1e-3)
            return "same" if equal else "not comparable"
        n = len(self.values)
        from scipy import stats  # takes half a second

        half = float(stats.t.ppf(0.975, n - 1)) * self.deviation * math.sqrt(1 + 1 / n)
        if abs(self.mean - self.published) <= half:
            return "same"
        higher = self.mean > self.published
        if self.higher_is_better is None:
            return "higher" if higher else "lower"
        return "better" if higher == self.higher_is_better else "worse"


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
            # JSON has no NaN.
            {**asdict(row), "values": [None if math.isnan(x) else x for x in row.values]}
            for row in rows
        ],
    }


def read_rows(report: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a :func:`report`."""
    return [Row(**{**row, "values": [*map(number, row["values"])]}) for row in report["rows"]]


def number(value: float | None) -> float:
    """Return a number of a JSON record, nan for None."""
    return math.nan if value is None else value


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of ours beside theirs."""
    lines = [
        "| variant | quantity | published | ours, mean ± sd | seeds | a run is | s per run | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = "" if row.deviation is None else f" ± {row.deviation:.2g}"
        published = "" if row.published is None else f"{row.published:.4g}"
        seconds = f"{fmean(row.seconds):.0f}" if row.seconds else ""
        lines.append(
            f"| {row.variant} | {row.quantity} | {published} | {row.mean:.4g}{spread} | "
            f"{len(row.values)} | {row.against_published} | {seconds} | {row.note} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Quantity:
    """Number that is taken from a finished run; a greater one is better, worse, or neither."""

    name: str
    of: Callable[[StoredRun], float]
    higher_is_better: bool | None = None

    @classmethod
    def last_ten(cls, split: str, metric: str, higher_is_better: bool) -> Quantity:
        """Return the mean of a metric over the last ten evaluations, as Zhang et al. report it."""

        def of(run: StoredRun) -> float:
            return fmean(entry[split][metric] for entry in run.entries[-10:])

        return cls(f"{split} {metric}, mean of last 10", of, higher_is_better)

    @classmethod
    def best(cls, split: str, metric: str, higher_is_better: bool) -> Quantity:
        """Return a metric at the evaluation whose validation metric is best."""
        name = f"{split} {metric}, best on validation"
        return cls(name, lambda run: run.scores.best[split][metric], higher_is_better)

    @classmethod
    def at_end(cls, split: str, metric: str, higher_is_better: bool) -> Quantity:
        """Return a metric at the end of a run."""
        name = f"{split} {metric.replace('_', ' ')} at the end"
        return cls(name, lambda run: run.scores.last[split][metric], higher_is_better)


@dataclass(frozen=True)
class Variant:
    """Variant of an experiment: settings beside those of the task's published run.

    Published values are by the names of quantities; measures add to topology.jsonl. ``method``
    makes the rewiring of a run's settings, where they cannot name it.
    """

    name: str
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    note: str = ""
    method: Callable[[Config], MethodFactory] | None = None

    def config(self) -> Config:
        """Return the settings of a run, whose seed is replaced."""
        return Config.published(self.task, **self.settings)


#: Runs by the name of their variant, a run for each seed.
Runs = Mapping[str, Sequence[StoredRun]]


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
        runs = train_variants(self.variants, plan, self.settings, self.numbered)
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
                seconds=[] if place else seconds(runs[variant.name]),
                note=variant.note,
            )
            for variant in self.variants
            for place, quantity in enumerate(self.quantities)
        ]
        return rows + (self.further(runs) if self.further is not None else [])


def train(jobs: Sequence[Job], plan: Plan) -> list[StoredRun]:
    """Make runs, or what is left of them, and return them in the order of the jobs."""
    for _ in run_all(jobs, workers=plan.workers):
        pass
    return [StoredRun(job.folder, job.config) for job in jobs]


def train_variants(
    variants: Sequence[Variant],
    plan: Plan,
    settings: Mapping[str, Any] | None = None,
    numbered: Sequence[str] = (),
) -> Runs:
    """Train each variant with each seed; see :class:`TrainingExperiment`."""
    jobs = []
    for variant, seed in product(variants, plan.seeds):
        own = {**(settings or {}), **plan.settings, **dict.fromkeys(numbered, seed), "seed": seed}
        config = variant.config().replaced(**own)
        method = None if variant.method is None else variant.method(config)
        folder = plan.folder / variant.name / f"seed{seed}"
        jobs.append(Job(folder, config, variant.measures, method))
    runs = iter(train(jobs, plan))
    return {variant.name: [*islice(runs, len(plan.seeds))] for variant in variants}


def seconds(runs: Sequence[StoredRun]) -> list[float]:
    """Return the time of training of each run."""
    return [run.seconds for run in runs if run.seconds is not None]
