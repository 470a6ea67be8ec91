"""Code of the documents, which has to run and to print what the documents say."""

import re
from pathlib import Path

import pytest
import torch

from sparse_engine import analysis, nn
from sparse_engine.lab.cli import main
from sparse_engine.lab.experiments.selfish import SELFISH
from sparse_engine.lab.tasks import TASKS
from sparse_engine.nn import SparseRNN
from sparse_engine.topology.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "methods.md").read_text()
# Blocks that begin a line; one within a list goes on from what surrounds it there.
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_it_is(block):
    names = {"__name__": "block"}
    exec(compile(block, "docs/methods.md", "exec"), names)
    weight, rewiring = names["model"].weight_hh_l0, names["rewiring"]
    assert weight.topology_version >= rewiring.steps // rewiring.every > 1
    assert weight.nnz == pytest.approx(0.05 * 256 * 256, rel=0.1)


def test_the_grow_rule_does_what_it_says():
    names = {"__name__": "block"}
    exec(compile(BLOCKS[-1], "docs/methods.md", "exec"), names)
    weight = names["model"].weight_hh_l0
    distance = (weight.rows() - weight.col_indices).abs().double()
    born = weight.values.detach() == 0
    # Random growth has a mean of 256 / 3.
    assert float(distance[born].mean()) < 60 < float(distance[~born].mean())


def test_every_method_has_its_row():
    published = {entry.kind.__name__ for entry in METHODS.values()}
    assert set(re.findall(r"^\| `(\w+)`", DOCUMENT, re.MULTILINE)) == published


def test_the_rule_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "(Prune)" in block]
    model = SparseRNN(4, 30, density=0.2)
    names = {"torch": torch, "model": model, "optimizer": torch.optim.Adam(model.parameters())}
    exec(compile(block, "README.md", "exec"), names)
    names["rewiring"].rewire()
    assert model.weight_hh_l0.topology_version == 1


def test_the_first_lines_of_the_readme_run_and_train():
    names = {}
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    assert len(block.splitlines()) == 12
    exec(compile(block, "README.md", "exec"), names)
    assert names["loss"].item() < 0.02  # 1 / 12 without recalling
    assert names["lstm"].weight_hh_l0.topology_version == 3


CELL = (ROOT / "docs" / "write_a_cell.md").read_text()


def test_the_cell_runs_and_is_that_of_the_example():
    block, options = re.findall(r"^```python\n(.*?)^```", CELL, re.MULTILINE | re.DOTALL)
    names = {"__name__": "block"}
    exec(compile(block, "docs/write_a_cell.md", "exec"), names)
    assert names["y"].shape == (20, 32, 512) and names["h_n"].shape == (4, 32, 256)
    exec(compile(options, "docs/write_a_cell.md", "exec"), names)
    assert names["y"].shape == (20, 32, 64) and "leak=0.5" in names["leaky"].extra_repr()
    written = block[block.index("class UGRNN") : block.index("rnn = SparseUGRNN")].strip()
    assert written in (ROOT / "examples" / "write_a_cell.py").read_text()


def test_files_that_the_page_names_are_there():
    files = set(re.findall(r"`([\w/]+\.(?:py|cpp|h))`", CELL))
    assert len(files) > 10
    for file in files:
        assert (ROOT / file).is_file() or (ROOT / "csrc" / "cpu" / file).is_file(), file


def blocks_of(page):
    """The blocks of a page."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [pytest.param(block, id=str(k)) for k, block in enumerate(blocks)]


def run(page, block):
    names = {"__name__": "block"}
    exec(compile(block, f"docs/{page}", "exec"), names)
    return names


@pytest.mark.parametrize("block", blocks_of("cells.md"))
def test_what_the_page_on_cells_shows_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("cells.md", block)
    if "rewiring" in names:
        steps, every = names["rewiring"].steps, names["rewiring"].every
        (model,) = {names.get("model"), names.get("ltc")} - {None}
        weights = [each for each in model.modules() if isinstance(each, nn.SparseWeight)]
        assert {each.topology_version for each in weights} == {steps // every}


@pytest.mark.parametrize("block", blocks_of("language.md"))
def test_what_the_page_on_language_shows_runs(block):
    names = run("language.md", block)
    assert names["log_p"].shape == (35, 20, 10_000) and names["loss"].isfinite()


def test_the_commands_on_language_are_known(capsys):
    text = (ROOT / "docs" / "language.md").read_text()
    commands = re.findall(r"^sparse-engine (.*)$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        # Data that are not there are missed after all options are understood.
        assert main([*command.replace("FOLDER", "/nowhere").split(), "--data", "/nowhere"]) == 2
        assert "expected the file" in capsys.readouterr().err
    named = set(re.findall(r"`(?:sparse-engine reproduce )?(selfish-[a-z-]+)`", text))
    assert named == set(SELFISH)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with two runs of the names that the page gives them, much shorter."""
    folder = tmp_path_factory.mktemp("runs")
    small = ("--hidden", "32", "--density", "0.3", "--steps", "4", "--every", "2", "--threads", "1")
    for seed, name in enumerate(("one", "other")):
        options = (*small, "--seed", str(seed), "--out", str(folder / "runs" / name))
        assert main(["train", "mackey-glass", *options, "--balance-every", "1"]) == 0
    return folder


@pytest.mark.parametrize("block", blocks_of("analysis.md"))
def test_what_the_page_on_analysis_shows_runs(block, runs, threads, monkeypatch):
    threads(1)
    monkeypatch.chdir(runs)
    run("analysis.md", block)


def test_the_commands_on_analysis_run(runs, monkeypatch):
    monkeypatch.chdir(runs)
    text = (ROOT / "docs" / "analysis.md").read_text()
    commands = re.findall(r"^\$ sparse-engine (.*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["analyze", "distance"]
    for command in commands:
        assert main(command.split()) == 0
    assert (runs / "analysis.png").is_file()


def test_names_on_analysis_are_there():
    text = (ROOT / "docs" / "analysis.md").read_text()
    names = set(re.findall(r"^\| `(\w+)\(", text, re.MULTILINE))
    assert len(names) > 10
    assert names <= vars(analysis).keys()


def test_the_page_on_tasks_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TASKS, "waves", None)  # taken away again after the test
    names = {"__name__": "block"}
    for block in blocks_of("tasks.md"):
        exec(compile(block.values[0], "docs/tasks.md", "exec"), names)
    assert names["result"].best["validation"]["accuracy"] > 0.8


def test_every_task_has_its_row():
    text = (ROOT / "docs" / "tasks.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \|.*\|.*\|.*\|", text, re.MULTILINE)) == set(TASKS)


def test_the_page_on_deployment_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "block"}
    for block in blocks_of("deployment.md"):
        exec(compile(block.values[0], "docs/deployment.md", "exec"), names)
    assert names["banded"].weight.density == pytest.approx(0.1, abs=0.04)
    assert "outputs differ by" in capsys.readouterr().out


def test_c_code_on_deployment_is_that_of_the_header():
    text = (ROOT / "docs" / "deployment.md").read_text()
    header = (ROOT / "csrc" / "c_library" / "sparse_engine.h").read_text()
    names = set(re.findall(r"\b(?:se_\w+(?=\()|SE_\w+)", text))
    assert len(names) > 4 and all(re.search(rf"\b{name}\b", header) for name in names)
