"""Experiments with tiny networks: of SET, QuickSelection, distances, Synapses and Selfish-RNN."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from lab.tasks.layouts import SETTINGS, WRITERS
from scipy.sparse import csr_array, save_npz

from sparse_engine import convert
from sparse_engine.lab.cli import main
from sparse_engine.lab.experiments import EXPERIMENTS, Plan, Row, table
from sparse_engine.lab.experiments import synapses as pixels
from sparse_engine.lab.experiments import topology_distance as along
from sparse_engine.lab.experiments.quick_selection import neighbours_accuracy, overlaps
from sparse_engine.lab.experiments.set import MOCANU
from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.tasks import Examples, PennTreebank
from sparse_engine.lab.train import Config, Run, read_metrics, read_weights
from sparse_engine.nn import SparseWeight
from sparse_engine.optim import SNTASGD
from sparse_engine.topology import Selfish

SHORT = {"steps": 9, "every": 4, "evaluate_every": 3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in ("cifar-10", "coil20", "fashion-mnist", "lung", "madelon", "mnist"):
        (root / name).mkdir()
        WRITERS[name](root / name)
    return root


@pytest.fixture
def written(folders, monkeypatch):
    """Lets tasks find written files."""
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(folders))


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("name", [each.name for each in MOCANU])
def test_dense_fixed_and_rewired_networks_are_compared(name, tmp_path):
    small = {"hidden": 40 if name == "set-rbm" else (60, 50), "batch_size": 4}
    settings = {**SHORT, **SETTINGS.get(name.removeprefix("set-mlp-"), {}), **small}
    experiment = EXPERIMENTS[name]
    assert experiment.name == name
    rows = experiment.rows(Plan(tmp_path, (0,), 1, settings))
    known = {quantity.name for quantity in experiment.quantities}
    assert all(variant.published.keys() <= known for variant in experiment.variants)
    names = ["SET", "fixed wiring"] if name == "set-rbm" else ["dense", "fixed wiring", "SET"]
    assert [row.variant for row in rows[::2]] == names
    assert all(np.isfinite(row.values).all() and len(row.values) == 1 for row in rows)
    links = {
        variant: sum(weight.nnz for weight in read_weights(tmp_path / variant / "seed0").values())
        for variant in names
    }
    assert links["SET"] == links["fixed wiring"]
    assert "dense" not in links or links["dense"] > links["SET"]
    ends = [read_weights(tmp_path / each / "seed0") for each in ("SET", "fixed wiring")]
    patterns = [np.concatenate([w.col_indices for w in each.values()]) for each in ends]
    assert not np.array_equal(*patterns), "SET rewires"


@pytest.mark.usefixtures("written")
def test_selected_features_are_judged(tmp_path):
    settings = {**SHORT, "hidden": (60, 50)}
    rows = EXPERIMENTS["quick-selection"].rows(Plan(tmp_path, (0, 1), 1, settings))
    variants = ["SET", "SET", "fixed wiring", "fixed wiring", "random features", "all features"]
    assert [row.variant for row in rows] == variants
    assert [len(row.values) for row in rows] == [2, 1, 2, 1, 2, 1]
    assert all(0 <= value <= 1 for row in rows for value in row.values)


def test_neighbours_see_the_selected_features_alone():
    x = torch.randn(300, 6)
    parts = {"train": Examples(x[:200], (x[:200, 2] > 0).long())}
    parts["test"] = Examples(x[200:], (x[200:, 2] > 0).long())
    assert neighbours_accuracy(parts, torch.tensor([2])) > 0.95
    assert neighbours_accuracy(parts, torch.tensor([0, 5])) < 0.7


def test_overlaps_are_fractions_of_pairs():
    chosen = [torch.tensor(each) for each in ([1, 2, 3, 4], [4, 3, 9, 8], [5, 6, 7, 1])]
    assert overlaps(chosen) == [0.5, 0.25, 0.0]
    assert overlaps(chosen[:1]) == [1.0]


def test_published_wirings_have_the_published_distances(data):
    for epoch, published in along.PUBLISHED.items():
        found = along.summary(along.distances(data / "nnstd", epoch, read=along.read_published))
        assert found == pytest.approx(published, abs=1e-6)


@pytest.mark.usefixtures("written")
def test_networks_start_apart_and_their_wirings_are_kept(tmp_path, monkeypatch, folders):
    monkeypatch.setattr(along, "NETWORKS", 3)
    monkeypatch.setattr(along, "EVERY", 2)
    monkeypatch.setattr(along, "EPOCHS", (0, 1, 2))
    small = {"hidden": (40, 30), "density": 0.08, "batch_size": 8, "steps": 5, "evaluate_every": 5}
    plan = Plan(tmp_path, (0,), 1, small)
    rows = EXPERIMENTS["topology-distance"].rows(plan)
    assert (tmp_path / "distances.png").read_bytes().startswith(b"\x89PNG")
    values = {(row.variant, row.quantity): row.values[0] for row in rows}
    wirings = tmp_path / "seed0" / "wirings"
    first = [convert.read_npz(wirings / f"w{i}/epoch_000/weight_l0.npz") for i in range(3)]
    links = first[0].nnz
    assert [w.nnz for w in first] == [links] * 3
    # Each network has lost 1 % of the links of the one before, and no others.
    for a, b in pairwise(first):
        shared = a.astype(bool).multiply(b.astype(bool)).nnz
        assert links - shared == pytest.approx(0.01 * links, abs=2)
    distances = [values[f"ours, epoch {epoch}", along.QUANTITIES[2]] for epoch in (0, 1, 2)]
    assert 0 < distances[0] < 0.1 < distances[1] < distances[2] < 1
    assert values["unrelated random wirings", "distance"] > distances[0]
    # The wiring of the last epoch is that of the run at its end.
    last = convert.read_npz(wirings / "w2/epoch_002/weight_l0.npz")
    weight = read_weights(tmp_path / "seed0" / "w2")["layers.linear0.weight"]
    assert np.array_equal(last.indices, weight.col_indices)
    again = EXPERIMENTS["topology-distance"].rows(plan)
    assert [row.values for row in again] == [row.values for row in rows]


def test_a_wiring_of_the_published_layout_is_turned_round(tmp_path):
    dense = np.array([[0, 1.0], [2, 0], [0, 3], [9, 9]])  # three inputs, two outputs, biases
    save_npz(tmp_path / "a.npz", csr_array(dense))
    found = along.read_published(tmp_path / "a.npz").toarray()
    assert np.array_equal(found, [[0, 2, 0], [1, 0, 3]])


@pytest.mark.usefixtures("written")
def test_links_of_pixels_are_counted(tmp_path):
    small = {**SHORT, "hidden": (60, 50), "batch_size": 8}
    whole = EXPERIMENTS["synapses"]
    part = replace(whole, variants=[each for each in whole.variants if "0.0002" in each.name])
    rows = part.rows(Plan(tmp_path, (0,), 1, small))
    assert len(rows) == 8 and len({row.variant for row in rows}) == 2
    folder = tmp_path / "weight decay 0.0002, new links of 0" / "seed0"
    weight = read_weights(folder)["layers.linear0.weight"]
    fan_out = np.bincount(weight.col_indices, minlength=784).reshape(28, 28)
    ring = fan_out.sum() - fan_out[4:24, 4:24].sum()
    expected = {"border": ring / (784 - 400), "central": fan_out[7:21, 7:21].mean()}
    found = {row.quantity.split()[2]: row.values[0] for row in rows[5:]}
    for kind, mean in expected.items():
        assert found[kind] == pytest.approx(mean / fan_out.mean())


@pytest.mark.usefixtures("written")
def test_constant_pixels_are_those_that_never_change():
    x = Config.published("mnist-mlp").task.examples["train"].inputs
    assert pixels.constant_pixels(x).sum() == 0
    x = x.clone()
    x[:, 3] = 0.5
    assert pixels.constant_pixels(x).nonzero().tolist() == [[3]]


TINY = {
    "batch_size": 3,
    "bptt": 6,
    "evaluation_streams": 2,
    "embedding": 20,
    "hidden": 20,
    "last": 20,
    "steps": 4,
    "every": 2,
    "evaluate_every": 2,
}
#: Published densities, learning rates, first fractions and numbers of epochs.
FLAGS = {
    "selfish-lstm": (0.33, 40, 0.8, 100),
    "selfish-rhn": (0.472, 15, 0.5, 500),
    "selfish-on-lstm": (0.45, 30, 0.5, 1000),
    "selfish-mixture": (0.45, 15, 0.5, 1000),
}


@pytest.fixture
def texts(tmp_path):
    for name, lines in (("train", 12), ("valid", 12), ("test", 6)):
        text = "the cat sat on the mat and a dog ran\n" * lines
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / f"wiki.{name}.tokens").write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", FLAGS)
def test_published_model_is_trained_by_its_published_flags(name, texts, tmp_path):
    (variant,) = EXPERIMENTS[name].variants
    config = variant.config()
    found = (
        config.network.density,
        config.optimization.learning_rate,
        config.method.fraction,
        config.steps / config.method.every,
    )
    assert found == FLAGS[name]
    assert config.optimization.clip_norm == 0.25 and config.optimization.clip_value is None
    assert config.evaluate_every == config.method.every
    assert config.network.gain == pytest.approx(config.network.density**0.5, abs=1e-3)
    run = Run(tmp_path / "run", config.replaced(data=texts, **TINY))
    assert isinstance(run.rewiring, Selfish) and isinstance(run.optimizer, SNTASGD)
    matrices = [name for name, p in run.model.named_parameters() if "bias" not in name]
    weights = [module for module in run.model.modules() if isinstance(module, SparseWeight)]
    assert len(matrices) == len(weights) == len(run.rewiring.weights), "every matrix is sparse"
    result = run.train(progress=False)
    assert result.finished and result.best["test"]["perplexity"] > 1
    assert set(variant.published) == {q.name for q in EXPERIMENTS[name].quantities}


def test_small_experiment_compares_sparse_with_dense(texts, tmp_path):
    experiment = EXPERIMENTS["selfish-small"]
    plan = Plan(tmp_path / "runs", seeds=[0], workers=1, settings={"data": texts, **TINY})
    rows = experiment.rows(plan)
    assert [row.variant for row in rows[::2]] == [variant.name for variant in experiment.variants]
    assert [len(row.values) for row in rows] == [1] * 10
    sizes = [variant.config().replaced(data=texts, **TINY) for variant in experiment.variants]
    assert {config.task for config in sizes} == {sizes[0].task}
    assert all(isinstance(config.task, PennTreebank) and config.task.small for config in sizes)
    assert len({config.optimization.learning_rate for config in sizes}) == 1


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
    assert rows[2].against_published == "better" and rows[0].against_published == ""
    entries = read_metrics(tmp_path / "SET" / "seed3" / "metrics.jsonl")
    assert rows[0].values[1] == pytest.approx(sum(e["metric"] for e in entries[-10:]) / 10)
    assert rows[1].values[1] == min(entry["metric"] for entry in entries)
    assert rows[0].values[0] != rows[0].values[1], "seeds differ"
    assert all(seconds > 0 for seconds in rows[0].seconds) and not rows[1].seconds
    text = table(rows)
    assert "| SET | links | 3 | 13 ± 0 | 2 | better |" in text and "| stays |" in text
    assert experiment().rows(plan) == rows, "finished runs are not repeated"


def test_a_folder_of_other_settings_is_refused(tmp_path):
    experiment().rows(Plan(tmp_path, seeds=(0,), workers=1))
    with pytest.raises(ValueError, match=r"found network\.hidden = 9 instead of 8"):
        experiment().rows(Plan(tmp_path, seeds=(0,), workers=1, settings={"hidden": 9}))


def test_rows_are_compared_by_a_prediction_interval():
    """For 1, 2 and 3 it is 2 ± 4.303 sqrt(4/3) = 2 ± 4.968, with t of two degrees from a table."""

    def verdict(published, better, values=(1.0, 2.0, 3.0)):
        return Row("a", "score", values, published, better).against_published

    assert verdict(6.96, True) == verdict(-2.96, False) == verdict(6.96, None) == "same"
    assert verdict(6.98, True) == verdict(-2.98, False) == "worse"
    assert verdict(6.98, False) == verdict(-2.98, True) == "better"
    assert verdict(6.98, None) == "lower" and verdict(-2.98, None) == "higher"
    assert verdict(2.0, True, [2.01]) == "not comparable" and verdict(2.0, True, [2.001]) == "same"
    assert verdict(None, True) == ""
    assert "| 2 | 1 |" in table([Row("a", "score", [2.0])]), "one seed has no deviation"


def test_the_command_writes_a_report(tmp_path, capsys):
    options = ["--seeds=1", "--workers=1", f"--out={tmp_path / 'runs'}"]
    options += [f"--json={tmp_path / 'report.json'}", "--settings"]
    options += ["steps", "40", "every", "4", "hidden", "40"]
    assert main(["reproduce", "zhang-mackey-glass", *options]) == 0
    out = capsys.readouterr().out
    assert "| pruning, published protocol | validation mse, mean of last 10 | 0.0002085 |" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["experiment"] == "zhang-mackey-glass" and report["seeds"] == [0]
    assert {"processor", "family", "caches", "cores", "commit", "isa"} <= report["machine"].keys()
    assert {row["variant"] for row in report["rows"]} >= {
        "pruning, published protocol",
        "SET",
        "fixed weights",
    }
    assert main(["reproduce", "zhang-mackey-glass", "--seeds", "0"]) == 2


def test_every_experiment_has_a_name_and_a_source():
    for name, made in EXPERIMENTS.items():
        assert made.name == name and made.summary and made.source, name
