"""Comparison of runs in groups that differ in their seeds alone, paired by seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from sparse_engine.lab.tables import aligned, shown
from sparse_engine.lab.tasks import Task
from sparse_engine.lab.train.config import flattened
from sparse_engine.lab.train.results import StoredRun

#: Evaluation of a run: the one with the best validation metric at the fewest links, or the last.
At = Literal["best", "last"]
#: Settings that name a group by their values alone, and first.
NAMES = ("method.name", "network.cell")


@dataclass(frozen=True)
class Group:
    """Finished runs, by their seeds, whose settings differ in the seed alone.

    The name has the values of the settings in which groups differ. The runs are compared on a split
    of the data, at an evaluation: "best", of the best validation metric, or "last".
    """

    name: str
    split: str
    at: At
    runs: Mapping[int, StoredRun]

    @cached_property
    def values(self) -> dict[int, float]:
        """The metric of each run on the split, by seed."""
        return {seed: entry[self.split][self._metric] for seed, entry in self._entries.items()}

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return float(np.mean([*self.values.values()]))

    @property
    def sd(self) -> float | None:
        """The standard deviation of the values, with n - 1; None for one run."""
        return float(np.std([*self.values.values()], ddof=1)) if len(self.runs) > 1 else None

    @property
    def validation(self) -> float:
        """The mean of the runs' validation metrics."""
        return float(np.mean([entry["metric"] for entry in self._entries.values()]))

    @property
    def links(self) -> float:
        """The mean number of links, which methods that prune reduce along training."""
        return float(np.mean([entry["nnz"] for entry in self._entries.values()]))

    @property
    def seconds(self) -> float | None:
        """The mean time of training; None if that of a run is not known."""
        times = [run.seconds for run in self.runs.values()]
        return None if None in times else float(np.mean(times))  # type: ignore[arg-type]

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps that all runs have evaluated, ``[k]``, and metrics ``[runs, k]``."""
        lines = [{e["step"]: e["metric"] for e in run.entries} for run in self.runs.values()]
        steps = sorted(set.intersection(*(set(line) for line in lines)))
        return np.array(steps), np.array([[line[step] for step in steps] for line in lines])

    @property
    def _entries(self) -> dict[int, dict]:
        """The evaluation of each run that counts, by seed."""
        return {seed: getattr(run.scores, self.at) for seed, run in self.runs.items()}

    @property
    def _metric(self) -> str:
        return next(iter(self.runs.values())).task.metric


@dataclass(frozen=True)
class Comparison:
    """Groups of runs of one task, in the order of their first runs, of which one is the baseline.

    Unfinished runs are left out.
    """

    task: Task
    split: str
    at: At
    groups: Sequence[Group]
    baseline: Group
    unfinished: Sequence[StoredRun]

    @cached_property
    def tests(self) -> dict[str, PairedTest]:
        """Each other group against the baseline by name, paired by the seeds that both have.

        A group without such seeds, or with a metric that is not finite, has no test.
        """
        tests = {}
        for group in self.groups:
            seeds = [seed for seed in group.values if seed in self.baseline.values]
            pairs = [[each.values[seed] for seed in seeds] for each in (group, self.baseline)]
            if group is not self.baseline and seeds and np.isfinite(pairs).all():
                tests[group.name] = paired_test(*pairs)
        return tests

    def rows(self) -> list[dict[str, Any]]:
        """Return a record for each group, with values for JSON.

        The entries are ``group``, ``n`` (number of runs), ``mean``, ``sd`` and ``values`` (by seed)
        of the metric on the split, and the means ``validation`` of the validation metrics,
        ``links`` and ``seconds``, all at the evaluation that counts. A group that shares seeds with
        the baseline also has ``pairs``, ``difference`` (mean), ``interval`` (its 95 % confidence
        interval), ``t_p`` and ``rank_p`` of a paired test, ``rank_test``, and ``t_p_holm``
        and ``rank_p_holm``, the p-values corrected for the number of groups.
        """
        tests = self.tests.values()
        corrected = {
            name: {"t_p_holm": t_p, "rank_p_holm": rank_p}
            for name, t_p, rank_p in zip(
                self.tests,
                holm([test.t_p for test in tests]),
                holm([test.rank_p for test in tests]),
                strict=True,
            )
        }
        rows = []
        for group in self.groups:
            row: dict[str, Any] = {"group": group.name, "n": len(group.runs)}
            names = ("mean", "sd", "validation", "links", "seconds")
            row |= {name: getattr(group, name) for name in names}
            row["values"] = {str(seed): value for seed, value in group.values.items()}
            if test := self.tests.get(group.name):
                own = asdict(test)
                ends = own.pop("low"), own.pop("high")
                row |= {"pairs": own.pop("n"), **own, **corrected[group.name]}
                row["interval"] = None if test.low is None else [*ends]
            rows.append(row)
        return rows

    def to_json(self) -> str:
        """Return the table as JSON."""
        record = {
            "task": self.task.name,
            "metric": self.task.metric,
            "split": self.split,
            "at": self.at,
            "higher_is_better": self.task.higher_is_better,
            "baseline": self.baseline.name,
            "groups": self.rows(),
            "unfinished": [str(run.folder) for run in self.unfinished],
        }
        return json.dumps(record, indent=1)

    def text(self) -> str:
        """Return the table as text, with a note on the tests."""
        table = [["group", "n", self.task.metric, "sd", "validation", "links", "seconds"]]
        compared = ["difference", "95 % interval", "t test p", "Holm", "rank test p", "Holm"]
        table[0] += compared if self.tests else []
        for row in self.rows():
            cells = [row["group"], str(row["n"])]
            cells += [shown(row[name]) for name in ("mean", "sd", "validation")]
            cells += [f"{row['links']:,.0f}", shown(row["seconds"])]
            if "pairs" in row:
                cells += [
                    f"{row['difference']:+.4g}",
                    " .. ".join(map(shown, row["interval"] or [None])),
                    *(shown(row[name]) for name in ("t_p", "t_p_holm")),
                    f"{shown(row['rank_p'])} {row['rank_test']}",
                    shown(row["rank_p_holm"]),
                ]
            table.append(cells + [""] * (len(table[0]) - len(cells)))
        lines = [aligned(table)]
        better = "greater" if self.task.higher_is_better else "less"
        when = "at the best validation metric" if self.at == "best" else "at the end"
        lines += [
            "",
            f"{self.task.metric} on the {self.split} split and links {when}; {better} is better. "
            "Means over n seeds.",
        ]
        if self.tests:
            lines.append(
                f"Differences from {self.baseline.name!r}, paired by seed: paired t test, and "
                "Wilcoxon's exact test or with few pairs the sign test; Holm: corrected for "
                f"{len(self.tests)} comparisons."
            )
        if self.unfinished:
            lines.append(f"Left out: {len(self.unfinished)} runs that are not finished.")
        return "\n".join(lines)


def compare(
    runs: Sequence[StoredRun],
    *,
    baseline: str | None = None,
    split: str | None = None,
    at: At = "best",
) -> Comparison:
    """Group runs by their settings but the seed, and compare the groups.

    Args:
        runs: runs of one task, see :func:`read_runs`.
        baseline: name of the group that the others are compared with; by default the first.
        split: part of the data whose metric counts; by default "test" where the task has it, else
            the part that the validation metric is of.
        at: evaluation that counts: "best", of the best validation metric among those with the
            fewest links, or "last".
    """
    if names := {run.task.name for run in runs} - {each.task.name for each in runs[:1]}:
        raise ValueError(f"expected runs of one task, found {sorted({runs[0].task.name, *names})}")
    finished = [run for run in runs if run.finished]
    if not finished:
        raise ValueError(f"expected finished runs, found none among {len(runs)}")
    task = finished[0].task
    split = split or ("test" if "test" in task.splits else task.splits[0])
    if split not in task.splits:
        raise ValueError(f"expected a split of {[*task.splits]}, found {split!r}")
    groups = [Group(name, split, at, members) for name, members in _grouped(finished).items()]
    by_name = {group.name: group for group in groups}
    if baseline is not None and baseline not in by_name:
        raise ValueError(f"expected a baseline of {[*by_name]}, found {baseline!r}")
    chosen = groups[0] if baseline is None else by_name[baseline]
    unfinished = [run for run in runs if not run.finished]
    return Comparison(task, split, at, groups, chosen, unfinished)


def _grouped(runs: Sequence[StoredRun]) -> dict[str, dict[int, StoredRun]]:
    groups: dict[str, dict[int, StoredRun]] = {}
    for run, name in zip(runs, _names(runs), strict=True):
        members = groups.setdefault(name, {})
        seed = run.config.seed
        if seed in members:
            raise ValueError(
                f"expected one run of each seed in a group, found seed {seed} in "
                f"{members[seed].folder} and in {run.folder}"
            )
        members[seed] = run
    return {name: dict(sorted(members.items())) for name, members in groups.items()}


def _names(runs: Sequence[StoredRun]) -> list[str]:
    """Return the name of each run's group: the settings that tell the groups apart."""
    settings = [_settings(run) for run in runs]
    heads = [tuple(each.get(name) for name in NAMES) for each in settings]
    first = _differing(settings, NAMES)
    names = []
    for head, own in zip(heads, settings, strict=True):
        alike = [each for each, other in zip(settings, heads, strict=True) if other == head]
        chosen = [*first, *_differing(alike, [name for name in own if name not in NAMES])]
        texts = [_shown(name, own[name]) for name in chosen if name in own]
        names.append(" ".join(texts) or str(own["method.name"]))
    return names


def _differing(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    return [name for name in names if len({json.dumps(each.get(name)) for each in settings}) > 1]


def _settings(run: StoredRun) -> dict[str, Any]:
    """Return the settings that make a group, with names such as ``network.hidden``."""
    # Where the data lie and how often a run saves make no difference.
    same = ("seed", "task.data", "save_every")
    return {n: v for n, v in flattened(run.config.to_json()).items() if n not in same}


def _shown(name: str, value: object) -> str:
    return str(value) if name in NAMES else f"{name.rpartition('.')[2]}={value}"


#: Fewest differences with which Wilcoxon's test can reach p < 0.05.
FEWEST_RANKED = 6


@dataclass(frozen=True)
class PairedTest:
    """Comparison of two measurements of the same subjects.

    Attributes:
        n: number of pairs.
        difference: mean of the differences.
        low: lower end of the 95 % confidence interval of the mean, by the t distribution.
        high: upper end of it.
        t_p: p-value of the paired t test, two-sided; None for fewer than two pairs, or if all
            differences are equal and not 0.
        rank_p: p-value of the test that ``rank_test`` names, two-sided; None if no difference is
            other than 0.
        rank_test: "wilcoxon" for the exact signed-rank test, "sign" for the sign test. The sign
            test takes the place of the other with fewer than six pairs, or with ties or zeros.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    t_p: float | None
    rank_p: float | None
    rank_test: str


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Compare two measurements of the same subjects, ``first - second``.

    The p-values are those of ``scipy.stats.ttest_rel``, ``wilcoxon`` and ``binomtest``.
    """
    from scipy import stats  # takes half a second

    a, b = (np.asarray(each, dtype=float) for each in (first, second))
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(f"expected pairs, found {[*a.shape]} and {[*b.shape]} measurements")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("expected finite measurements, found others")
    differences = a - b
    low = high = t_p = None
    if np.ptp(differences) > 0:
        t = stats.ttest_rel(a, b)
        (low, high), t_p = (float(each) for each in t.confidence_interval()), float(t.pvalue)
    elif a.size > 1 and not differences.any():
        t_p = 1.0
    rank_p, rank_test = _rank_test(differences)
    return PairedTest(a.size, float(differences.mean()), low, high, t_p, rank_p, rank_test)


def _rank_test(differences: np.ndarray) -> tuple[float | None, str]:
    from scipy import stats

    sizes = np.abs(differences)
    if differences.size >= FEWEST_RANKED and sizes.all() and np.unique(sizes).size == sizes.size:
        return float(stats.wilcoxon(differences, method="exact").pvalue), "wilcoxon"
    greater, less = int((differences > 0).sum()), int((differences < 0).sum())
    if not greater + less:
        return None, "sign"
    return float(stats.binomtest(greater, greater + less).pvalue), "sign"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for the number of tests (Holm 1979), in their order.

    With m tests, the k-th smallest p-value becomes the greatest of ``(m - i + 1) p_i`` over
    i <= k, and at most 1. None stays None and does not count.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    greatest = 0.0
    for rank, (p, place) in enumerate(order):
        greatest = max(greatest, min(1.0, (len(order) - rank) * p))
        corrected[place] = greatest
    return corrected
