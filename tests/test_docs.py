"""Code of the pages runs, page by page, and shows what the text says; their lists are complete."""

import importlib.util
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from lab.in_process import run_here

from sparse_engine import analysis, nn
from sparse_engine.lab.cli import main
from sparse_engine.lab.experiments import EXPERIMENTS
from sparse_engine.lab.experiments.selfish import SELFISH
from sparse_engine.lab.tasks import TASKS
from sparse_engine.lab.train import METHODS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXTS = {
    str(path.relative_to(DOCS)): path.read_text()
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts
}
# The code on NetworkX runs in a process of its own, tests/test_networkx_backend.py.
PAGES = [name for name, text in TEXTS.items() if BLOCK.search(text) and name != "networkx.md"]


def methods_page(names):
    weight = names["model"].weight_hh_l0
    assert weight.nnz == pytest.approx(0.05 * 256 * 256, rel=0.1)
    distance = (weight.rows() - weight.col_indices).abs().double()
    born = weight.values.detach() == 0
    # The rule of the page's last block; random growth has a mean of 256 / 3.
    assert float(distance[born].mean()) < 60 < float(distance[~born].mean())


def write_a_cell(names):
    assert names["y"].shape == (20, 32, 64) and "leak=0.5" in names["leaky"].extra_repr()
    block = BLOCK.search(TEXTS["write_a_cell.md"])[1]
    written = block[block.index("class UGRNN") : block.index("rnn = SparseUGRNN")].strip()
    assert written in (ROOT / "examples" / "write_a_cell.py").read_text()


def feed_forward(names):
    # Of 20 * 1010 links for the output layer, only 10,000 have a place.
    sparse = [isinstance(layer, nn.SparseLinear) for layer in names["model"].linear]
    assert sparse == [True, True, False]
    assert names["rbm"].weight.nnz == 12_240 and 0 < names["error"] < 1
    assert names["strength"].shape == (500,) and len(names["selected"]) == 20


def runs_page(names):
    assert names["mine"].finished
    assert names["test"].n == 2 and len(names["compared"].groups) == 4
    assert Path("compare.png").is_file()
    named = set(re.findall(r"`([\w.]+)`", TEXTS["runs.md"]))
    files = {path.name for path in Path("runs/gru").iterdir()}
    assert {name for name in files if not name.startswith("checkpoint-")} <= named


CHECKS = {
    "methods.md": methods_page,
    "write_a_cell.md": write_a_cell,
    "feed_forward.md": feed_forward,
    "runs.md": runs_page,
    "language.md": lambda names: (
        names["log_p"].shape == (35, 20, 10_000) and names["loss"].isfinite()
    ),
    "tasks.md": lambda names: names["result"].best["validation"]["accuracy"] > 0.8,
    "deployment.md": lambda names: abs(names["banded"].weight.density - 0.1) < 0.04,
    "echo_state.md": lambda names: (
        names["model"].score(names["x"][1500:-5], names["x"][1505:]) > 0.9
    ),
}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A folder with two runs of the names that the page on analysis gives them, much shorter."""
    folder = tmp_path_factory.mktemp("runs")
    small = ("--hidden", "32", "--density", "0.3", "--steps", "4", "--every", "2", "--threads", "1")
    for seed, name in enumerate(("one", "other")):
        options = (*small, "--seed", str(seed), "--out", str(folder / "runs" / name))
        assert main(["train", "mackey-glass", *options, "--balance-every", "1"]) == 0
    return folder


@pytest.fixture
def folder(request, tmp_path, monkeypatch, threads):
    """The working directory of a page, whose runs are made in this process."""
    page = request.node.callspec.params.get("page", "") if hasattr(request.node, "callspec") else ""
    monkeypatch.chdir(request.getfixturevalue("two_runs") if page == "analysis.md" else tmp_path)
    threads(1)

    run_here(monkeypatch)
    monkeypatch.setitem(TASKS, "waves", None)  # what a page adds is taken away again


def check_rewired(names):
    """What a block rewires is rewired as often as its steps say."""
    model = names.get("model") or names.get("ltc")
    rewiring = names.get("rewiring")
    if isinstance(model, torch.nn.Module) and rewiring is not None and rewiring.model is model:
        versions = {weight.topology_version for weight in rewiring.weights}
        assert min(versions) >= rewiring.steps_taken // rewiring.every


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_code_of_a_page_runs_and_shows_what_its_text_says(page, folder):
    names = {"__name__": "__main__"}
    for block in BLOCK.findall(TEXTS[page]):
        libraries = re.findall(r"^ *(?:import|from) (\w+)", block, re.MULTILINE)
        if all(map(importlib.util.find_spec, libraries)):
            exec(compile(block, f"docs/{page}", "exec"), names)
            check_rewired(names)
            plt.close("all")
    assert CHECKS.get(page, lambda names: True)(names) in (True, None)


def test_the_example_of_the_readme_prints_what_the_readme_shows(folder, capsys):
    text, names = (ROOT / "README.md").read_text(), {}
    (block,) = BLOCK.findall(text)
    exec(compile(block, "README.md", "exec"), names)
    loss, rest = capsys.readouterr().out.split(",", 1)
    shown = re.search(r"```\nloss ([\d.]+),(.*)\n```", text)
    assert float(loss.split()[1]) == pytest.approx(float(shown[1]), rel=0.5)
    assert rest.rstrip("\n") == shown[2]
    assert names["lstm"].weight_hh_l0.topology_version == 6


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 90
    assert len(text.split()) <= 600


def commands(page, prompt=r"\$ "):
    return re.findall(rf"^{prompt}sparse-engine (.*)$", TEXTS[page], re.MULTILINE)


@pytest.mark.parametrize("page", ["analysis.md"])
def test_the_commands_on_analysis_run(page, folder):
    assert [command.split()[0] for command in commands(page)] == ["analyze", "distance"]
    for command in commands(page):
        assert main(command.split()) == 0
    assert Path("analysis.png").is_file()


def test_the_commands_on_runs_run(folder, capsys):
    sweep, compare = (command.split() for command in commands("runs.md"))
    assert main([*sweep, "--steps", "60", "--every", "20", "--hidden", "8"]) == 0
    capsys.readouterr()
    assert main(compare) == 0
    (shown,) = re.findall(r"^```\n(group .*?)^```", TEXTS["runs.md"], re.MULTILINE | re.DOTALL)
    now, then = (
        [line.split()[0] for line in text.split("\n\n")[0].splitlines()]
        for text in (capsys.readouterr().out, shown)
    )
    assert now == then


def test_the_commands_on_language_are_known(capsys):
    known = commands("language.md", prompt="")
    assert len(known) == 3
    for command in known:
        # Data that are not there are missed after all options are understood.
        assert main([*command.replace("FOLDER", "/nowhere").split(), "--data", "/nowhere"]) == 2
        assert "expected the file" in capsys.readouterr().err


def named(page, pattern):
    return set(re.findall(pattern, TEXTS[page], re.MULTILINE))


def test_lists_of_the_pages_are_complete():
    published = {entry.kind.__name__ for entry in METHODS.values()}
    assert named("methods.md", r"^\| `(\w+)`") == published
    assert named("tasks.md", r"^\| `([\w-]+)` \|.*\|.*\|.*\|") == set(TASKS)
    functions = named("analysis.md", r"^\| `(\w+)\(")
    assert len(functions) > 10 and functions <= vars(analysis).keys()
    language = named("language.md", r"`(?:sparse-engine reproduce )?(selfish-[a-z-]+)`")
    assert language == {each.name for each in SELFISH}
    experiments = named("feed_forward.md", r"sparse-engine reproduce ([\w-]+)")
    experiments |= {f"set-mlp-{rest}" for rest in named("feed_forward.md", r"`-([\w-]+)`")}
    own = {name for name in EXPERIMENTS if name.startswith("set-")}
    assert experiments == own | {"quick-selection", "synapses", "topology-distance"}
    assert named("feed_forward.md", r"sparse-engine train ([\w-]+)") <= TASKS.keys()
    for file in named("write_a_kernel.md", r"`([\w/]+\.(?:py|cpp|h))`"):
        assert (ROOT / file).is_file() or (ROOT / "csrc" / "cpu" / file).is_file(), file
    header = (ROOT / "csrc" / "c_library" / "sparse_engine.h").read_text()
    functions = named("deployment.md", r"\b(?:se_\w+(?=\()|SE_\w+)")
    assert len(functions) > 4 and all(re.search(rf"\b{name}\b", header) for name in functions)
