"""Published experiments: variants of runs, and ours beside theirs."""

import json

import pytest

from sparse_engine.lab.cli import main
from sparse_engine.lab.experiments import EXPERIMENTS, Plan, Row, table
from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.train import read_metrics

SMALL = {"hidden": 8, "density": 0.2, "steps": 12, "every": 4, "evaluate_every": 1}


def experiment():
    return TrainingExperiment(
        "small",
        "a small experiment",
        "nobody",
        [
            Variant("SET", "mackey-glass", SMALL | {"method": "set"}, {"links": 3.0}),
            Variant("fixed", "mackey-glass", SMALL | {"method": "static"}, note="stays"),
        ],
        [
            Quantity.last_ten("validation", "mse", False),
            Quantity.best("validation", "mse", False),
            Quantity("links", lambda run: float(run.scores.last["nnz"]), True),
        ],
    )


def test_variants_are_trained_with_every_seed(tmp_path):
    plan = Plan(tmp_path, seeds=(0, 3), workers=1)
    rows = experiment().rows(plan)
    assert [(row.variant, len(row.values)) for row in rows] == [("SET", 2)] * 3 + [("fixed", 2)] * 3
    assert [row.published for row in rows] == [None, None, 3.0, None, None, None]
    assert rows[2].reached is True and rows[0].reached is None
    entries = read_metrics(tmp_path / "SET" / "seed3" / "metrics.jsonl")
    assert rows[0].values[1] == pytest.approx(sum(e["metric"] for e in entries[-10:]) / 10)
    assert rows[1].values[1] == min(entry["metric"] for entry in entries)
    assert rows[0].values[0] != rows[0].values[1], "seeds differ"
    assert all(seconds > 0 for seconds in rows[0].seconds) and not rows[1].seconds
    text = table(rows)
    assert "| SET | links | 3 | 13 ± 0 | 2 | yes |" in text and "| stays |" in text
    assert experiment().rows(plan) == rows, "finished runs are not repeated"


def test_a_folder_of_other_settings_is_refused(tmp_path):
    experiment().rows(Plan(tmp_path, seeds=(0,), workers=1))
    with pytest.raises(ValueError, match=r"found network\.hidden = 9 instead of 8"):
        experiment().rows(Plan(tmp_path, seeds=(0,), workers=1, settings={"hidden": 9}))


def test_rows_are_compared_in_their_direction():
    lower = Row("a", "mse", [1.0, 3.0], published=2.0, higher_is_better=False)
    assert lower.mean == 2 and lower.deviation == pytest.approx(2**0.5) and lower.reached
    assert not Row("a", "accuracy", [1.0, 2.0], published=2.0, higher_is_better=True).reached
    assert Row("a", "links", [1.0], published=2.0).reached is None


def test_the_command_writes_a_report(tmp_path, capsys):
    options = ["--seeds=1", "--workers=1", f"--out={tmp_path / 'runs'}"]
    options += [f"--json={tmp_path / 'report.json'}", "--settings"]
    options += ["steps", "40", "every", "4", "hidden", "40"]
    assert main(["reproduce", "zhang-mackey-glass", *options]) == 0
    out = capsys.readouterr().out
    assert "| pruning | validation mse, mean of last 10 | 0.0002085 |" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["experiment"] == "zhang-mackey-glass" and report["seeds"] == [0]
    assert {"processor", "family", "caches", "cores", "commit", "isa"} <= report["machine"].keys()
    assert {row["variant"] for row in report["rows"]} >= {"pruning", "SET", "fixed weights"}
    assert main(["reproduce", "zhang-mackey-glass", "--seeds", "0"]) == 2


def test_every_experiment_has_a_name_and_a_source():
    for name, made in EXPERIMENTS.items():
        assert made.name == name and made.summary and made.source, name
