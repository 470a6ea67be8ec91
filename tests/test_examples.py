"""The examples run, on tiny sizes."""

import json
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def loss_falls(most):
    return lambda record: record["last loss"] < most * record["first loss"]


def large_network(record):
    measured = record["measured"]
    assert measured["links"] == 3000 and measured["seconds per rewiring"] > 0
    assert record["settings"]["neurons"] == 300 and record["machine"]["threads"] == 1
    return measured["seconds per step"] >= measured["seconds per backward pass"]


def balances(record):
    assert Path("balance.png").read_bytes().startswith(b"\x89PNG")
    return len(record["balance"]) == 3 and all(0 < balance < 1 for balance in record["balance"])


def trials_end(record):
    ended = record["states"]
    return len(ended) == 8 and {*ended} <= {"COMPLETE", "PRUNED"} and record["best"] > 0.5


LARGE = {"neurons": 300, "links": 10, "duration": 8, "batch": 2, "steps": 4, "every": 2}
#: Options, a library besides, what is printed, and a check of the record that is written.
RUNS = {
    "quickstart": ({"steps": 120}, "torch", "nnz=3277", loss_falls(0.9)),
    "write_a_cell": ({"steps": 120}, "torch", "256 x 128, nnz=3277", loss_falls(0.7)),
    "endless_stream": ({"steps": 750}, "torch", "7 rewirings of", loss_falls(0.5)),
    "hundred_thousand_neurons": ({**LARGE, "threads": 1}, "torch", "peak GB", large_network),
    "fly_brain": (
        {"neurons": 400, "links": 9000, "updates": 80, "steps": 30, "batch": 32, "rate": 0.1},
        "torch",
        "400 neurons",
        lambda record: loss_falls(0.85)(record) and record["simulated"]["spikes"] > 1000,
    ),
    "cell_type_gains": (
        {"neurons": 60, "steps": 30},
        "torch",
        "groups=36",
        lambda record: loss_falls(0.1)(record) and record["error of a gain"] < 0.15,
    ),
    "balance_along_training": (
        {"steps": 60, "every": 20, "picture": "balance.png"},
        "torch",
        "balance 0.",
        balances,
    ),
    "search": ({"trials": 8, "steps": 104}, "optuna", "accuracy 0.", trials_end),
    "neurogym_trials": (
        {"updates": 150},
        "neurogym",
        "384 x 128, nnz=4915",
        lambda record: record["first"] < 0.3 and record["last"] > 0.6,
    ),
    "recurrent_ppo": (
        {"steps": 12_000},
        "sb3_contrib",
        "256 x 64, nnz=3277",
        lambda record: record["first"] < 0.5 and record["last"] > 0.8,
    ),
}
QUICK = ("quickstart", "write_a_cell", "endless_stream", "neurogym_trials", "recurrent_ppo")


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.exhaustive) for name in RUNS],
)
def test_an_example(name, tmp_path, monkeypatch, capsys):
    options, library, printed, check = RUNS[name]
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", [name, *arguments, "--json", "new/result.json"])
    for _ in range(2 if name == "search" else 1):  # the same command goes on
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert printed in capsys.readouterr().out
    assert check(json.loads(Path("new/result.json").read_text()))
