"""The commands train, sweep and compare, as a user meets them, and the help."""

import json
import re
import signal
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from lab.in_process import run_here

from sparse_engine.lab.cli import main
from sparse_engine.lab.cli.analyze import Analyze
from sparse_engine.lab.cli.distance import Distance
from sparse_engine.lab.cli.train import RunOptions
from sparse_engine.lab.experiments import EXPERIMENTS
from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import MackeyGlass
from sparse_engine.lab.train import METHODS, Config, Job, Method, Optimization, read_metrics
from sparse_engine.lab.train.config import PARTS

QUICK = ("--hidden", "16", "--steps", "3", "--every", "1")
SMALL = ("--steps", "4", "--every", "2", "--hidden", "12", "--evaluate-every", "2")
SWEEP = ("sweep", "digits", *SMALL, "--densities", "0.3", "--out", "here")


@pytest.fixture(autouse=True)
def made(tmp_path, monkeypatch, request):
    """Jobs run in this process, in an empty folder; the folders of those that were."""
    folders, run = [], Job.__call__
    monkeypatch.chdir(tmp_path)
    # So that no line of help is broken.
    monkeypatch.setenv("COLUMNS", "1000")
    if not request.node.name.endswith("pictures"):
        # They take longer than everything else here.
        run_here(monkeypatch)
    monkeypatch.setattr(Job, "__call__", lambda job: folders.append(str(job.folder)) or run(job))
    return folders


def train(*options):
    return main(["train", "mackey-glass", *QUICK, *options])


def refused(capsys, *options):
    """The one line that a user sees when a command cannot be done."""
    assert train(*options) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("sparse-engine: ")
    return message


def test_trains_and_reports_with_pictures(tmp_path, capsys):
    options = ("--density", "0.3", "--balance-every", "2")
    assert train(*options, "--out", "deep/run") == 0
    out = capsys.readouterr().out
    lines = [r"last validation mse +0\.\d+", "best at step +3", "links +77", r"time +\d+\.\d s"]
    for line in (*lines, r"peak memory +\d+ MB", "written to +deep/run"):
        assert re.search(rf"^{line}$", out, re.MULTILINE), line
    run = tmp_path / "deep" / "run"
    tensors = ("checkpoint-00000003.safetensors", "best.safetensors")
    texts = ("config.json", "metrics.jsonl", "topology.jsonl", "checkpoint.json", "result.json")
    pictures = ("curve.png", "adjacency.png", "balance.png")
    assert {*tensors, *texts, *pictures} == {path.name for path in run.iterdir()}
    assert all((run / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    (entry,) = read_metrics(run / "metrics.jsonl")
    assert entry["step"] == 3 and entry["nnz"] == 77
    records = read_metrics(run / "topology.jsonl")
    assert ["pooled" in record for record in records] == [False, True]


def test_options_reach_the_run_and_keep_their_types():
    options = ("--density", "0.5", "--fraction", "0.25", "--gain", "0.9", "--seed", "7")
    cell = ("--cell", "on_lstm", "--cell-options", "chunk_size", "4")
    method = ("--method", "deep-r", "--method-options", "l1", "0.001", "noise", "1")
    optimizer = ("--optimizer", "SGD", "--optimizer-options", "momentum", "0.9", "nesterov", "True")
    rate = ("--learning-rate", "0.01")
    assert train(*options, *cell, *method, *optimizer, *rate, "--out", "run") == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["task"] == {"name": "mackey-glass", "batch_size": 12, "series_seed": 0}
    expected = {
        "method": {"name": "deep-r", "fraction": 0.25, "every": 1, "final_density": 0.05},
        "network": {"hidden": 16, "density": 0.5, "gain": 0.9, "cell": "on_lstm"},
        "optimization": {"learning_rate": 0.01, "optimizer": "SGD"},
    }
    for part, settings in expected.items():
        assert config[part].items() >= settings.items()
    assert config.items() >= {"steps": 3, "seed": 7}.items()
    assert config["network"]["cell_options"] == {"chunk_size": 4}
    assert config["method"]["method_options"] == {"l1": 0.001, "noise": 1}
    assert config["optimization"]["optimizer_options"] == {"momentum": 0.9, "nesterov": True}


def test_interrupted_run_says_how_to_go_on_and_does(threads, tmp_path, capsys, monkeypatch):
    """With as many threads as it is told, on which the result does not depend."""
    loss = MackeyGlass.loss

    def interrupted(task, model, step):
        if step.number == 1:
            signal.raise_signal(signal.SIGINT)
        return loss(task, model, step)

    threads(1)
    assert train("--threads", "2", "--out", "whole") == 0
    assert torch.get_num_threads() == 2
    with monkeypatch.context() as context:
        context.setattr(MackeyGlass, "loss", interrupted)
        capsys.readouterr()
        assert train("--threads", "1", "--out", "parts") == 130
    assert "interrupted at step 2 of 3; go on with --resume" in capsys.readouterr().out
    assert "expected a new or empty folder" in refused(capsys, "--out", "parts")
    assert train("--out", "parts", "--resume") == 0
    assert torch.get_num_threads() == 1
    for name in ("metrics.jsonl", "checkpoint.json", "checkpoint-00000003.safetensors"):
        whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
        assert whole.read_bytes() == parts.read_bytes()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--density", "2", "expected density in (0, 1], found 2.0"),
        ("--method=pruning", "--density=0.05", "expected a density above final_density, .* 0.05"),
        ("--method=granet", "--every=3", "expected a rewiring before the last of 3 steps, found"),
        ("--seed", "9" * 30, "expected seed in [0, 2^63), found " + "9" * 30),
        ("--threads", "-1", "expected --threads in [0, 1024], found -1"),
        ("--balance-every", "-1", "expected --balance-every of at least 0, found -1"),
        ("--learning-rate", "-1", "Invalid learning rate: -1.0"),
        ("--cell-options=colour", "3", "expected arguments of SparseRNN, found colour"),
        ("--gain", "1e300", "expected a finite loss"),
    ],
)
def test_bad_values_are_one_line(capsys, option, value, message):
    line = refused(capsys, option, value, "--out", "run")
    assert all(part in line for part in message.split(".*"))
    assert option == "--gain" or not Path("run").exists()


def test_a_sweep_makes_the_runs_that_are_missing(made, capsys):
    assert main([*SWEEP, "--methods", "set", "--seeds", "0", "1"]) == 0
    assert re.search(r"^set +2 +0\.\d+ ", capsys.readouterr().out, re.MULTILINE)
    assert main([*SWEEP, "--methods", "set", "static", "--seeds", "0", "1"]) == 0
    rows = capsys.readouterr().out
    assert re.search(r"^static +2 .* sign ", rows, re.MULTILINE)
    assert "Differences from 'set'" in rows
    folders = [f"here/method={name},density=0.3/seed=" for name in ("set", "static")]
    assert made == [f"{folder}{seed}" for folder in folders for seed in (0, 1)]
    config = json.loads(Path(f"{folders[1]}1/config.json").read_text())
    assert config["network"].items() >= {"density": 0.3, "hidden": 12}.items()
    assert config["method"]["name"] == "static" and config["seed"] == 1
    alone = (*SMALL, "--density", "0.3", "--method", "rigl", "--seed", "1", "--out", "alone")
    assert main(["train", "digits", *alone]) == 0
    capsys.readouterr()
    options = ("--baseline", "rigl", "--json", "--plot", "curves.png")
    assert main(["compare", "here", "alone", *options]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [group["group"] for group in record["groups"]] == ["set", "static", "rigl"]
    assert record["groups"][0]["pairs"] == 1 and record["groups"][1]["seconds"] > 0
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (("compare",), "found none"),
        (("compare", "nothing"), "found no run in nothing"),
        ((*SWEEP, "--workers", "-1"), "--workers of at least 0, found -1"),
        ((*SWEEP, "--seeds", "1", "1"), "different values of each setting"),
        (("train", "mackey-glass", *QUICK, "--resume", "--out", "x"), "found no config.json"),
        (("reproduce", "zhang-mackey-glass", "--seeds", "0"), "--seeds"),
    ],
)
def test_what_cannot_be_done_is_refused(command, found, capsys):
    assert main([*command]) == 2
    assert found in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nonsense"], ["train", "mackey-glass", "--hidden"]])
def test_unknown_words_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "many"])
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_of_all_commands_is_a_sentence_about_each(capsys):
    text = help_of(capsys)
    assert all(name in text for name in ("train", "resume", "analyze", "distance", "info"))
    assert "Example" not in text and len(text.splitlines()) < 40


def test_experiments_are_listed_below_their_publications(capsys):
    assert main(["reproduce"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    listed = [line.split()[0] for block in blocks for line in block.splitlines()[1:]]
    assert sorted(listed) == sorted(EXPERIMENTS)
    published = next(block for block in blocks if "zhang-gesture" in block)
    assert published.startswith("Zhang, Moore, Yan & Li")


def test_help_explains_every_option(capsys):
    assert "Example: sparse-engine train mackey-glass" in help_of(capsys, "train")
    text = " ".join(help_of(capsys, "train", "mackey-glass").replace("│", " ").split())
    parts = (Config, RunOptions, MackeyGlass, RecurrentNetwork, Method, Optimization)
    names = {field.name for part in parts for field in fields(part)} - {*PARTS, "name"}
    for name in names | {"method", "out", "resume"}:
        option = name.replace("_", "-")
        assert re.search(rf" --{option} (?:(?!\(default).)*\. \(default: ", text), option
    for name, method in METHODS.items():
        assert f"{name}: {method.summary}" in text


@pytest.mark.parametrize("command", [Analyze, Distance])
def test_help_of_the_other_commands_breaks_no_sentence(capsys, command):
    text = help_of(capsys, command.__name__.lower()).replace("│", " ")
    for field in fields(command)[1:]:
        option = field.name.replace("_", "-")
        assert re.search(rf"--{option}(?: \S+)?\s+[A-Z].*\. \(default: ", text), option
