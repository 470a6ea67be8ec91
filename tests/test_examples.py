"""The examples run, on tiny sizes."""

import json
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def run(monkeypatch, capsys, threads):
    """Runs an example in this process; returns what it prints, and what it writes."""

    def run(name, file, **options):
        arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--json", str(file)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out, json.loads(file.read_text())

    return run


def test_quickstart(run, tmp_path):
    printed, record = run("quickstart.py", tmp_path / "new" / "result.json", steps=120)
    assert record["steps"] == 120
    assert record["last loss"] < 0.9 * record["first loss"]
    assert "nnz=3277" in printed


@pytest.mark.exhaustive
def test_hundred_thousand_neurons(run, tmp_path):
    printed, record = run(
        "hundred_thousand_neurons.py",
        tmp_path / "result.json",
        neurons=300,
        links=10,
        duration=8,
        batch=2,
        steps=4,
        every=2,
        threads=1,
    )
    measured = record["measured"]
    assert measured["links"] == 3000
    assert measured["seconds per rewiring"] > 0
    assert measured["seconds per step"] >= measured["seconds per backward pass"]
    assert record["settings"]["neurons"] == 300
    assert record["machine"]["threads"] == 1
    assert "peak GB" in printed


@pytest.mark.exhaustive
def test_cell_type_gains(run, tmp_path):
    printed, record = run("cell_type_gains.py", tmp_path / "result.json", neurons=60, steps=30)
    assert record["last loss"] < 0.1 * record["first loss"]
    assert record["error of a gain"] < 0.15
    assert "groups=36" in printed


@pytest.mark.exhaustive
def test_balance_along_training(run, tmp_path):
    picture = tmp_path / "balance.png"
    printed, record = run(
        "balance_along_training.py", tmp_path / "result.json", steps=60, every=20, picture=picture
    )
    assert len(record["balance"]) == 3
    assert all(0 < balance < 1 for balance in record["balance"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"balance {record['balance'][0]:.3f} -> " in printed


def test_write_a_cell(run, tmp_path):
    printed, record = run("write_a_cell.py", tmp_path / "result.json", steps=120)
    assert record["last loss"] < 0.7 * record["first loss"]
    assert "256 x 128, nnz=3277" in printed


def test_neurogym_trials(run, tmp_path):
    pytest.importorskip("neurogym")
    printed, record = run("neurogym_trials.py", tmp_path / "result.json", updates=150)
    assert record["first"] < 0.3 and record["last"] > 0.6
    assert "384 x 128, nnz=4915" in printed


def test_recurrent_ppo(run, tmp_path):
    pytest.importorskip("sb3_contrib")
    printed, record = run("recurrent_ppo.py", tmp_path / "result.json", steps=12_000)
    assert record["first"] < 0.5 and record["last"] > 0.8
    assert "256 x 64, nnz=3277" in printed
