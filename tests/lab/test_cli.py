"""The command line, as a user meets it."""

import json
import re
import shutil
import signal
from dataclasses import fields

import pytest
import torch

from sparse_engine.lab.cli import main
from sparse_engine.lab.cli.analyze import Analyze
from sparse_engine.lab.cli.distance import Distance
from sparse_engine.lab.cli.train import RunOptions
from sparse_engine.lab.experiments import EXPERIMENTS
from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import MackeyGlass
from sparse_engine.lab.train import METHODS, Config, Method, Optimization, read_metrics
from sparse_engine.lab.train.config import PARTS

TRAIN = ["train", "mackey-glass", "--hidden"]
QUICK = ("--hidden", "16", "--steps", "3", "--every", "1")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    # So that no line of help is broken.
    monkeypatch.setenv("COLUMNS", "1000")
    if not request.node.name.endswith("pictures"):
        # They take longer than everything else here.
        monkeypatch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that nobody changes."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)
        assert train("--out", str(folder)) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run, in the working directory."""
    return shutil.copytree(trained, tmp_path / "run")


def train(*options):
    return main(["train", "mackey-glass", *QUICK, *options])


def refused(capsys, *options):
    """The one line that a user sees when a command cannot be done."""
    assert train(*options) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("sparse-engine: ")
    return message


def test_trains_and_reports_with_pictures(tmp_path, capsys):
    assert train("--out", "deep/run") == 0
    out = capsys.readouterr().out
    assert re.search(r"^last validation mse +0\.\d+$", out, re.MULTILINE)
    assert re.search(r"^best at step +3$", out, re.MULTILINE)
    assert re.search(r"^links +13$", out, re.MULTILINE)
    assert re.search(r"^time +\d+\.\d s$", out, re.MULTILINE)
    assert re.search(r"^peak memory +\d+ MB$", out, re.MULTILINE)
    assert re.search(r"^written to +deep/run$", out, re.MULTILINE)
    run = tmp_path / "deep" / "run"
    names = {"config.json", "metrics.jsonl", "topology.jsonl", "curve.png", "adjacency.png"}
    names |= {
        "checkpoint.json",
        "checkpoint-00000003.safetensors",
        "best.safetensors",
        "result.json",
    }
    assert names == {path.name for path in run.iterdir()}
    (entry,) = read_metrics(run / "metrics.jsonl")
    assert entry["step"] == 3 and entry["nnz"] == 13


def test_options_reach_the_run(tmp_path):
    options = ("--density", "0.5", "--fraction", "0.25", "--gain", "0.9", "--seed", "7")
    assert train(*options, "--method", "static", "--learning-rate", "0.01", "--out", "run") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["task"] == {"name": "mackey-glass", "series_seed": 0}
    expected = {
        "method": {"name": "static", "fraction": 0.25, "every": 1, "final_density": 0.05},
        "network": {"hidden": 16, "density": 0.5, "gain": 0.9, "cell": "rnn"},
        "optimization": {"learning_rate": 0.01, "optimizer": "Adam"},
    }
    for part, settings in expected.items():
        assert config[part].items() >= settings.items()
    assert config.items() >= {"steps": 3, "seed": 7}.items()


def test_options_of_cells_and_methods_keep_their_types(tmp_path):
    cell = ("--cell", "on_lstm", "--cell-options", "chunk_size", "4")
    method = ("--method", "deep-r", "--method-options", "l1", "0.001", "noise", "1")
    optimizer = ("--optimizer", "SGD", "--optimizer-options", "momentum", "0.9", "nesterov", "True")
    assert train(*cell, *method, *optimizer, "--out", "run") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["network"]["cell_options"] == {"chunk_size": 4}
    assert config["method"]["method_options"] == {"l1": 0.001, "noise": 1}
    assert config["optimization"]["optimizer_options"] == {"momentum": 0.9, "nesterov": True}


def test_balance_is_recorded_every_so_many_rewirings_with_pictures(tmp_path, capsys):
    options = ("--density", "0.3", "--balance-every", "2", "--out", "run")
    assert train(*options) == 0
    records = read_metrics(tmp_path / "run" / "topology.jsonl")
    assert ["pooled" in record for record in records] == [False, True]
    assert (tmp_path / "run" / "balance.png").read_bytes().startswith(b"\x89PNG")
    assert "--balance-every of at least 0, found -1" in refused(capsys, "--balance-every", "-1")


def test_interrupted_run_says_how_to_go_on_and_does(trained, tmp_path, capsys, monkeypatch):
    loss = MackeyGlass.loss

    def interrupted(task, model, step):
        if step.number == 1:
            signal.raise_signal(signal.SIGINT)
        return loss(task, model, step)

    with monkeypatch.context() as context:
        context.setattr(MackeyGlass, "loss", interrupted)
        capsys.readouterr()
        assert train("--out", "parts") == 130
    assert "interrupted at step 2 of 3; go on with --resume" in capsys.readouterr().out
    assert train("--out", "parts", "--resume") == 0
    for name in ("metrics.jsonl", "checkpoint.json", "checkpoint-00000003.safetensors"):
        assert (trained / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_threads_are_taken_over(threads, tmp_path):
    threads(1)
    assert train("--threads", "2", "--out", "two") == 0
    assert torch.get_num_threads() == 2
    assert train("--threads", "1", "--out", "one") == 0
    assert torch.get_num_threads() == 1
    # As the help says: the result does not depend on it.
    one, two = (tmp_path / name / "metrics.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--density", "2", "expected density in (0, 1], found 2.0"),
        (
            "--method=pruning",
            "--density=0.05",
            "expected a density above final_density, to which the method pruning reduces it, found "
            "0.05 and 0.05",
        ),
        (
            "--method=granet",
            "--every=3",
            "expected a rewiring before the last of 3 steps, found none with every = 3; take a "
            "smaller every, more steps or the method static",
        ),
        ("--seed", "9" * 30, "expected seed in [0, 2^63), found " + "9" * 30),
        ("--threads", "-1", "expected --threads in [0, 1024], found -1"),
        ("--learning-rate", "-1", "Invalid learning rate: -1.0"),
        (
            "--cell-options=colour",
            "3",
            "expected options of the cell rnn, found: expected arguments of SparseRNN, found "
            "colour",
        ),
    ],
)
def test_bad_values_are_one_line_and_leave_nothing(tmp_path, capsys, option, value, message):
    assert refused(capsys, option, value, "--out", "run") == f"sparse-engine: {message}"
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("run")
def test_refuses_a_folder_in_use(tmp_path, capsys):
    assert "expected a new or empty folder" in refused(capsys, "--out", "run")
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, "--out", "file")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["train", "mackey-glass", "--nonsense", "1"], [*TRAIN, "many"]]
)
def test_unknown_words_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command(capsys):
    text = help_of(capsys)
    assert all(name in text for name in ("train", "resume", "analyze", "distance", "info"))


def test_help_of_all_commands_is_a_sentence_about_each(capsys):
    text = help_of(capsys)
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
