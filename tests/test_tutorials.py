"""The tutorials of the site: their cells run, in seconds, and show what their texts say."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from sparse_engine.deploy.quantized import QuantizedLSTM

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
CELL = re.compile(r"^```\{code-cell\}\n(.*?)^```", re.MULTILINE | re.DOTALL)


def first_network(names):
    assert names["losses"][-1] < 1e-3 * names["losses"][0]
    assert 1000 < names["kept"] < 6000, "many links are elsewhere"
    alone = torch.tensor(names["continued"])
    assert (alone - names["wave"][50:150, 0, 0]).square().mean() < 0.02


def choose_a_method(names):
    """Rewiring finds the inputs that matter."""
    mean = {name: sum(each) / len(each) for name, each in names["results"].items()}
    assert mean["static"] < mean["SET"] < mean["RigL"]
    links = {name: gru.weight_ih_l0.fan_out() for name, gru in names["networks"].items()}
    relevant = {name: float(each[:5].double().mean()) for name, each in links.items()}
    assert relevant["static"] < relevant["SET"] < relevant["RigL"]


def prune_and_ship(names):
    damaged = dict(zip(names["densities"], names["at_once"], strict=True))
    tuned = dict(zip(names["densities"], names["tuned"], strict=True))
    dense = names["accuracy"](names["dense"])
    assert damaged[0.05] < dense - 0.1
    assert tuned[0.1] > dense - 0.05
    assert names["accuracy"](names["small"]) > dense - 0.05
    assert names["small"].rnn.weight_hh_l0.density == pytest.approx(0.05, rel=1e-3)
    assert isinstance(names["served"].rnn, QuantizedLSTM)
    assert names["accuracy"](names["served"]) > names["accuracy"](names["small"]) - 0.01
    sizes = [Path(f"{each}.safetensors").stat().st_size for each in ("dense", "small", "quantized")]
    assert sizes[0] > 3 * sizes[1] > 3 * sizes[2]


def connectome(names):
    assert (names["answers"] == names["cue"]).double().mean() > 0.95
    assert names["after"].nnz == names["LINKS"]
    degrees = names["wiring"].fan_out().double()
    assert degrees.max() > 10 * degrees.mean(), "hubs"


def analyse(names):
    """There are no motifs to find, and two seeds have nothing in common."""
    assert abs(names["null"].z_scores["pooled"]) < 3
    weight, start, other = names["weight"], names["start"], names["other"].weight_hh_l0
    distance = names["distance"]
    assert distance(weight, weight) == 0
    assert 0.2 < distance(weight, start) < 0.8 < distance(weight, other)
    assert names["records"][-1]["exploration"] > 0.2


TUTORIALS = [first_network, choose_a_method, prune_and_ship, connectome, analyse]


def test_all_tutorials_are_tested():
    pages = {path.stem for path in FOLDER.glob("*.md")}
    assert pages == {"index", *(check.__name__ for check in TUTORIALS)}


@pytest.mark.parametrize("check", TUTORIALS, ids=lambda check: check.__name__)
def test_a_tutorial_shows_what_it_says(check, tmp_path, monkeypatch, threads):
    text = (FOLDER / f"{check.__name__}.md").read_text()
    assert "file_format: mystnb" in text.split("---")[1]
    mpl.use("Agg")
    threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    names, pictures = {"__name__": "__main__"}, 0
    with torch.random.fork_rng():
        for cell in CELL.findall(text):
            exec(compile(cell, f"docs/tutorials/{check.__name__}.md", "exec"), names)
            pictures += len(plt.get_fignums())
            plt.close("all")
    assert pictures >= 2
    check(names)
