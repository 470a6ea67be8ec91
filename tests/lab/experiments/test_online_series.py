"""The experiment of learning five series online: its variants, and what is taken from a run."""

from itertools import product

import pytest

from sparse_engine.lab.experiments import EXPERIMENTS, Plan
from sparse_engine.lab.train import Run, read_metrics
from sparse_engine.lab.train.online import Online

SERIES = ("henon", "mackey-glass", "lorenz", "sunspot", "laser")


@pytest.fixture(scope="module")
def experiment():
    return EXPERIMENTS["online-series"]


def test_networks_have_the_links_that_they_are_named_by(experiment, tmp_path, monkeypatch):
    (tmp_path / "online").mkdir()
    for name in ("sunspot", "laser"):
        (tmp_path / "online" / f"{name}.txt").write_text("1\n2\n4\n")
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(tmp_path))
    links = {"dense": 4096, "equal links": 4096, "half of the links": 2048}
    found = set()
    for variant in experiment.variants:
        series, learner, network = variant.name.split(", ", 2)
        config = variant.config()
        assert (config.task.series, config.online) == (series, learner)
        assert (config.steps, config.evaluate_every, config.optimization.learning_rate) == (
            15_000,
            7,
            1e-3,
        )
        assert config.method.name == ("set" if "SET" in network else "static")
        run = Run(tmp_path / variant.name, config.replaced(steps=300))
        assert run.nnz == links[network.split(", ")[-1].removeprefix("SET, ")]
        assert isinstance(run._loss, Online)
        found.add((series, learner, network))
    sparse = [("snap1", f"{name} links") for name in ("sparse, equal", "SET, equal")]
    sparse.append(("snap1", "SET, half of the links"))
    dense = [(learner, "dense") for learner in ("rtrl", "snap1", "rflo")]
    assert found == {(series, *rest) for series, rest in product(SERIES, dense + sparse)}


def test_published_errors_are_those_of_the_learner(experiment):
    published = {each.name: [*each.published.values()] for each in experiment.variants}
    assert published["henon, rtrl, dense"] == published["henon, snap1, dense"] == [0.0052]
    assert published["lorenz, rflo, dense"] == [0.0442]
    assert published["laser, snap1, SET, half of the links"] == [0.0214]


def test_errors_are_those_of_records_in_the_last_1250_steps(experiment, tmp_path):
    """178 of them, seven steps apart."""
    variant = next(each for each in experiment.variants if "lorenz, snap1, SET" in each.name)
    small = {"steps": 200, "evaluate_every": 1, "hidden": 12, "every": 4, "batch_size": 2}
    (row,) = [
        row
        for row in type(experiment)(
            "small", "", "", [variant], experiment.quantities, numbered=experiment.numbered
        ).rows(Plan(tmp_path, (0, 3), 1, small))
        if row.quantity.startswith("mse")
    ]
    for seed, value in zip((0, 3), row.values, strict=True):
        entries = read_metrics(tmp_path / variant.name / f"seed{seed}" / "metrics.jsonl")
        assert len(entries) == 200
        assert value == pytest.approx(sum(entry["loss"] for entry in entries[22:]) / 178)
    assert row.values[0] != row.values[1] and row.published == 0.0024
    assert row.higher_is_better is False
