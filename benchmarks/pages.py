"""Pages of results from the reports that experiments wrote: ``python -m benchmarks.pages``.

Reads benchmarks/results/experiments/*.json, the files of ``sparse-engine reproduce NAME --json``,
and writes docs/results.md, docs/papers.md, docs/which_method.md and its picture. A ``remark`` that
was added to a report is printed above its table. Also writes docs/inference.md, docs/benchmarks.md
and the table of README.md from benchmarks/results/*.json, the files of ``make bench``.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks._report import where
from benchmarks.inference_page import inference_page
from benchmarks.papers_page import papers_page
from benchmarks.timings_page import timings_page, with_headlines
from benchmarks.which_method_page import which_method_page
from sparse_engine.lab.experiments import read_rows, table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
REPORTS = RESULTS / "experiments"
DOCS = ROOT / "docs"

HEAD = """# Results

Published experiments, repeated. Each table is the output of one command, which downloads
or reads the data, trains every variant with every seed and prints the table; `--json` writes the
report from which this page is made (`python -m benchmarks.pages`). Published numbers are often
those of single runs. "a run is" says "same" where the published number lies within the 95 %
prediction interval of one more run of ours, mean ± t sd sqrt(1 + 1/n), otherwise better or worse,
or for balance higher or lower.
Nothing was tuned on a test split: what a protocol leaves open was chosen on validation data.
Of methods that prune, tables dated before 2026-11-25 show the best evaluation at any density, so
that a denser network may stand for a pruned one; later tables show that at the final density.
"""

#: What is not on the page: the experiments, why, and their commands.
ABSENT = (
    (
        "Selfish-RNN on the whole Penn Treebank: LSTM, RHN, ON-LSTM",
        "the training text was not at hand, and a run takes days on two cores",
        "selfish-lstm, selfish-rhn, selfish-on-lstm",
    ),
    ("Selfish-RNN on WikiText-2: AWD-LSTM-MoS", "as above", "selfish-mixture"),
    (
        "SET-MLP on Fashion-MNIST, CIFAR-10 and lung",
        "the files were not at hand",
        "set-mlp-fashion-mnist, set-mlp-cifar-10, set-mlp-lung",
    ),
)


def main() -> None:
    """Write the pages."""
    reports = [json.loads(path.read_text()) for path in sorted(REPORTS.glob("*.json"))]
    methods = [each for each in reports if each["experiment"].startswith("which-method")]
    others = [each for each in reports if each not in methods]
    sections = [_section(report) for report in others]
    (DOCS / "results.md").write_text("\n".join([HEAD, *sections, _absent()]))
    papers_page(others, DOCS)
    if methods:
        which_method_page(methods, DOCS)
    inference_page(json.loads((RESULTS / "inference.json").read_text()), DOCS)
    timings_page(RESULTS, DOCS)
    readme = DOCS.parent / "README.md"
    readme.write_text(with_headlines(readme.read_text(), RESULTS))


def _section(report: dict) -> str:
    rows = read_rows(report)
    minutes = report["seconds"] / 60
    changed = "".join(f" {name} = {value}" for name, value in report["settings"].items())
    remark = f" {report['remark']}" if "remark" in report else ""
    title = f"{_begun(report['summary'])}. {report['source']}.{remark}"
    return (
        f"## {report['experiment']}\n\n{title}\n\n"
        f"{table(rows)}\n\n"
        f"`{report['command']}`,{changed} {report['date']}, {where(report['machine'])}, "
        f"{minutes:.1f} minutes.\n"
    )


def _begun(sentence: str) -> str:
    """Begin a sentence with a capital letter, and leave the others."""
    return sentence[:1].upper() + sentence[1:]


def _absent() -> str:
    lines = [
        "## Experiments that were not run here",
        "",
        "| experiment | reason | commands |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in ABSENT)]) + "\n"


if __name__ == "__main__":
    main()
