"""Page and picture of the comparison of methods."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.stats

from benchmarks._report import where
from sparse_engine.lab import plot

HEAD = """# Which method for recurrent networks?

Methods under the same budget: the same number of updates, of rewirings and of links at the end, the
same optimizer, learning rate and seeds. A number is the test metric at the evaluation with the best
validation metric, mean ± standard deviation over seeds. Methods that prune start dense, so that
their updates cost more; "dense" keeps all links and is the reference. Of methods that prune, tables
dated before 2026-11-25 show the best evaluation at any density, which may be a denser network's;
later tables show that at the final density.

`sparse-engine reproduce which-method-gesture` (and -sms, -digits, -adding, -mnist) makes the runs
of one task, and goes on where it was interrupted; `which-method-gesture-full` takes all methods and
four cells.

"""
TAIL = """
## Conclusions and their limits

- {ranking}
- A difference below the spread over seeds means nothing: {spread}
- The budgets are short, runs of seconds. Methods that explore slowly may gain from longer ones.
- The learning rate is that of the task's published run and the same for all; no method was tuned.
- One layer of 128 units. Links are scarce at 99 %: 164 of 16,384 in an RNN.
"""


def which_method_page(reports: Sequence[dict], docs: Path) -> None:
    """Write which_method.md and which_method.png.

    Args:
        reports: reports of the comparisons, one for each task.
        docs: folder for both.
    """
    sections, columns = [], {}
    for report in reports:
        found = _columns(report)
        columns |= {
            (report["experiment"].removeprefix("which-method-"), *key): value
            for key, value in found.items()
        }
        sections.append(_section(report, found))
    columns = {key: column for key, column in columns.items() if key[0] not in NOT_LEARNT}
    _picture(columns, docs / "which_method.png")
    picture = "![rank of each method on each task, cell and density](which_method.png)\n"
    tail = TAIL.format(ranking=_ranking(columns), spread=_spread(columns))
    (docs / "which_method.md").write_text(HEAD + picture + "\n" + "\n".join(sections) + tail)


#: Tasks that no method learns within the budget, so that ranks in them mean nothing.
NOT_LEARNT = ("adding",)

#: Rows of a column, by the name of the method.
Column = dict[str, dict]


def _columns(report: Mapping) -> dict[tuple[str, str], Column]:
    """Return the rows by cell and density, then by method; dense ones are in every density."""
    columns: dict[tuple[str, str], Column] = defaultdict(dict)
    dense: dict[str, dict] = {}
    for row in report["rows"]:
        if row["quantity"] == "links at the end":
            continue
        cell, method, density = row["variant"].split()
        if method == "dense":
            dense[cell] = row
        else:
            columns[cell, density][method] = row
    for (cell, _), column in columns.items():
        if cell in dense:
            column["dense"] = dense[cell]
    return dict(columns)


def _section(report: Mapping, columns: Mapping[tuple[str, str], Column]) -> str:
    task = report["experiment"].removeprefix("which-method-")
    methods = list(dict.fromkeys(name for column in columns.values() for name in column))
    keys = list(columns)
    quantity = next(iter(columns[keys[0]].values()))["quantity"]
    remark = f" {report['remark']}" if "remark" in report else ""
    lines = [
        f"## {task}\n",
        f"{quantity}, {len(report['seeds'])} seeds, {report['date']}, "
        f"{where(report['machine'])}, {report['seconds'] / 60:.0f} minutes.{remark}\n",
        "| method | " + " | ".join(f"{cell}, {density}" for cell, density in keys) + " | s |",
        "|---|" + "---|" * (len(keys) + 1),
    ]
    for method in methods:
        rows = [columns[key].get(method) for key in keys]
        seconds = [second for row in rows if row for second in row["seconds"]]
        lines.append(
            f"| {method} | {' | '.join(_cell(row) for row in rows)} | "
            f"{statistics.fmean(seconds):.0f} |"
        )
    return "\n".join(lines) + "\n"


def _cell(row: Mapping | None) -> str:
    if row is None:
        return ""
    deviation = statistics.stdev(row["values"]) if len(row["values"]) > 1 else 0.0
    return f"{statistics.fmean(row['values']):.3g} ± {deviation:.1g}"


def _ranks(columns: Mapping[tuple[str, str, str], Column], methods: Sequence[str]) -> np.ndarray:
    """Return the rank of each method in each column, 1 for the best, nan where it has no row."""
    ranks = np.full((len(methods), len(columns)), np.nan)
    for number, column in enumerate(columns.values()):
        rows = [(method, column[method]) for method in methods if method in column]
        best_first = sorted(
            rows,
            key=lambda item: statistics.fmean(item[1]["values"])
            * (-1 if item[1]["higher_is_better"] else 1),
        )
        for rank, (method, _) in enumerate(best_first, 1):
            ranks[methods.index(method), number] = rank
    return ranks


def _picture(columns: Mapping[tuple[str, str, str], Column], path: Path) -> None:
    methods = list(dict.fromkeys(name for column in columns.values() for name in column))
    ranks = _ranks(columns, methods)
    order = np.argsort(np.nanmean(ranks, 1))
    with plot.picture(path, size=(1.6 + 0.55 * len(columns), 1.8 + 0.3 * len(methods))) as axes:
        axes.imshow(ranks[order], cmap="viridis_r", aspect="auto")
        for row, method in enumerate(order):
            for number in range(len(columns)):
                if np.isfinite(rank := ranks[method, number]):
                    dark = rank > len(methods) / 2
                    axes.text(
                        number,
                        row,
                        f"{rank:.0f}",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if dark else "black",
                    )
        axes.set_yticks(range(len(methods)))
        axes.set_yticklabels(
            [f"{methods[m]} ({np.nanmean(ranks[m]):.1f})" for m in order], fontsize=9
        )
        axes.set_xticks(range(len(columns)))
        axes.set_xticklabels(
            [" ".join(key) for key in columns], rotation=60, ha="right", fontsize=8
        )
        axes.set_title("rank by mean test metric\n(mean rank of a method)", fontsize=10)


def _ranking(columns: Mapping[tuple[str, str, str], Column]) -> str:
    """Return a sentence on whether the ranks tell the sparse methods apart (Demšar 2006)."""
    methods = sorted(set.intersection(*map(set, columns.values())) - {"dense"})
    if len(methods) < 3 or len(columns) < 3:
        return "There are too few methods or columns for a test of ranks."
    means = [
        [statistics.fmean(column[method]["values"]) for column in columns.values()]
        for method in methods
    ]
    p = scipy.stats.friedmanchisquare(*means).pvalue
    k, n = len(methods), len(columns)
    critical = scipy.stats.studentized_range.ppf(0.95, k, np.inf) * math.sqrt(k * (k + 1) / n / 12)
    ranks = np.nanmean(_ranks(columns, methods), 1)
    verdict = "tell these methods apart" if p < 0.05 else "do not tell these methods apart"
    return (
        f"The ranks {verdict}: over {n} columns, the {k} sparse methods that are in all of them "
        f"have Friedman's p = {p:.2g}. The best and the worst mean rank differ by "
        f"{ranks.max() - ranks.min():.1f}, the critical difference at 5 % is {critical:.1f}."
    )


def _spread(columns: Mapping[tuple[str, str, str], Column]) -> str:
    """Return a sentence on how many methods are within one deviation of the best."""
    near = []
    for column in columns.values():
        rows = [row for name, row in column.items() if name != "dense"]
        sign = -1 if rows[0]["higher_is_better"] else 1
        best = min(rows, key=lambda row: sign * statistics.fmean(row["values"]))
        bound = sign * statistics.fmean(best["values"]) + statistics.stdev(best["values"])
        near.append(sum(sign * statistics.fmean(row["values"]) <= bound for row in rows))
    return (
        f"of the sparse methods in a column, {statistics.fmean(near):.1f} on average lie within "
        "one standard deviation of the best."
    )
