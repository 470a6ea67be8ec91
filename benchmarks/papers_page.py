"""Page from papers to commands, docs/papers.md, from the reports of experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparse_engine.lab.experiments import EXPERIMENTS, Experiment, read_rows

HEAD = """# From a paper to a command

Each published table or figure that this package repeats, and the command that makes it. A command
downloads or reads the data, trains all variants with five seeds, and prints published numbers and
measured ones; `--json` also writes a report. `sparse-engine reproduce` without a name lists all. A
picture of a finished run comes from `sparse-engine analyze` ([analysis](analysis.md)).

"Same" counts published numbers inside the 95 % prediction interval of one more run. For balance
there is no better or worse, only higher or lower. [Results](results.md) has every number, and says
which experiments were not run here.
"""
#: What of a paper an experiment repeats, where its number is known; else its summary says it.
FIGURES = {"topology-distance": "figure 4: "}
VERDICTS = ("same", "better", "worse", "higher", "lower", "not comparable")


def verdict(report: Mapping) -> str:
    """Return how the published numbers of a report compare with the measured ones."""
    rows = [row for row in read_rows(report) if row.published is not None]
    counts = Counter(row.against_published for row in rows)
    return ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) or "none"


def papers_page(reports: Sequence[Mapping], folder: Path) -> None:
    """Write papers.md into a folder.

    Args:
        reports: reports of the experiments that were run here.
        folder: folder of the page.
    """
    known = {report["experiment"]: report for report in reports}
    sources: dict[str, list[str]] = {}
    for experiment in EXPERIMENTS.values():
        if not experiment.name.startswith("which-method"):
            sources.setdefault(experiment.source, []).append(_row(experiment, known))
    sections = [
        f"## {source[:1].upper()}{source[1:]}\n\n"
        "| shows | `sparse-engine reproduce` | minutes | published numbers |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
        for source, rows in sources.items()
    ]
    (folder / "papers.md").write_text("\n".join([HEAD, *sections]))


def _row(experiment: Experiment, known: Mapping[str, Mapping]) -> str:
    name = experiment.name
    shows = FIGURES.get(name, "") + experiment.summary
    if name not in known:
        return f"| {shows} | `{name}` | not run here | |"
    report = known[name]
    link = f"[`{name}`](results.md#{name})"
    return f"| {shows} | {link} | {report['seconds'] / 60:.1f} | {verdict(report)} |"
