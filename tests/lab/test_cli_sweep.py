"""The commands sweep and compare, as a user meets them."""

import json
import re
from pathlib import Path

import pytest
from lab.in_process import run_here

from sparse_engine.lab.cli import main
from sparse_engine.lab.train import Job

SMALL = ("--steps", "4", "--every", "2", "--hidden", "12", "--evaluate-every", "2")
SWEEP = ("sweep", "digits", *SMALL, "--densities", "0.3", "--out", "here")


@pytest.fixture(autouse=True)
def made(tmp_path, monkeypatch):
    """Runs of sweeps are made in this process, and their folders returned."""
    monkeypatch.chdir(tmp_path)
    folders = []

    run = Job.__call__
    run_here(monkeypatch)
    monkeypatch.setattr(Job, "__call__", lambda job: folders.append(str(job.folder)) or run(job))
    return folders


def test_a_sweep_makes_the_runs_that_are_missing(made, capsys):
    assert main([*SWEEP, "--methods", "set", "--seeds", "0", "1"]) == 0
    assert re.search(r"^set +2 +0\.\d+ ", capsys.readouterr().out, re.MULTILINE)
    assert main([*SWEEP, "--methods", "set", "static", "--seeds", "0", "1"]) == 0
    rows = capsys.readouterr().out
    assert (
        re.search(r"^static +2 .* sign ", rows, re.MULTILINE) and "Differences from 'set'" in rows
    )
    assert made == [
        f"here/method={method},density=0.3/seed={seed}"
        for method in ("set", "static")
        for seed in (0, 1)
    ]
    config = json.loads(Path("here/method=static,density=0.3/seed=1/config.json").read_text())
    assert config["network"]["density"] == 0.3 and config["network"]["hidden"] == 12
    assert config["method"]["name"] == "static" and config["seed"] == 1


def test_a_run_that_cannot_be_made_is_reported(capsys):
    options = ("--methods", "set", "static", "--every", "4", "--seeds", "0")
    assert main([*SWEEP, *options]) == 1
    shown = capsys.readouterr()
    assert "here/method=set,density=0.3/seed=0: expected a rewiring before" in shown.err
    assert re.search(r"^static +1 ", shown.out, re.MULTILINE)


def test_an_interrupted_sweep_says_how_to_go_on(monkeypatch, capsys):
    def run_all(jobs, **_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("sparse_engine.lab.cli.sweep.run_all", run_all)
    assert main([*SWEEP]) == 130
    assert "the same command goes on" in capsys.readouterr().out


def test_runs_of_train_and_of_sweeps_are_compared(capsys):
    assert main([*SWEEP, "--methods", "static", "--seeds", "0", "1"]) == 0
    alone = (*SMALL, "--density", "0.3", "--method", "rigl", "--seed", "1", "--out", "alone")
    assert main(["train", "digits", *alone]) == 0
    capsys.readouterr()
    options = ("--baseline", "rigl", "--json", "--plot", "curves.png")
    assert main(["compare", "here", "alone", *options]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [group["group"] for group in record["groups"]] == ["static", "rigl"]
    assert record["groups"][0]["pairs"] == 1 and record["groups"][1]["seconds"] > 0
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (("compare",), "found none"),
        (("compare", "nothing"), "found no run in nothing"),
        ((*SWEEP, "--workers", "-1"), "--workers of at least 0, found -1"),
        ((*SWEEP, "--seeds", "1", "1"), "different values of each setting"),
    ],
)
def test_what_cannot_be_done_is_refused(command, found, capsys):
    assert main([*command]) == 2
    assert found in capsys.readouterr().err
