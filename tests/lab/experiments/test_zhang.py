"""Experiments of Zhang et al., on short runs."""

import math

import numpy as np
import pytest
import torch

from sparse_engine.analysis.lesions import LesionCurve, Lesions
from sparse_engine.lab.experiments import EXPERIMENTS, Plan, zhang_lesions
from sparse_engine.lab.experiments.zhang_balance import with_common_band
from sparse_engine.lab.train import Config


@pytest.fixture
def rows_of(tmp_path, data, monkeypatch):
    """The rows of an experiment with one seed and other settings, by variant and quantity."""
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(data))

    def run(name, seeds=(0,), **settings):
        rows = EXPERIMENTS[name].rows(Plan(tmp_path, seeds=seeds, workers=1, settings=settings))
        return {(row.variant, row.quantity): row.values for row in rows}

    return run


@pytest.mark.exhaustive
def test_balance_along_training_is_beside_that_of_permuted_signs(rows_of, tmp_path):
    rows = rows_of("zhang-balance", steps=40, every=1, evaluate_every=40, hidden=128)
    tasks = ("mackey-glass", "gesture", "sms")
    assert {variant for variant, _ in rows} == {
        f"{task} {method}" for task in tasks for method in ("pruning", "SET")
    }
    for (_, quantity), (value,) in rows.items():
        assert not quantity.startswith("balance") or 0 <= value <= 1
    # Without training the signs of a dense network are as balanced as permuted ones.
    assert abs(rows["gesture pruning", "balance, pooled, first record"][0] - 0.5) < 0.05
    assert math.isfinite(rows["gesture pruning", "z of balance, pooled"][0])
    assert (tmp_path / "balance.png").stat().st_size > 20_000


@pytest.mark.exhaustive
def test_lesions_have_controls(rows_of, tmp_path):
    rows = rows_of("zhang-lesions", steps=4, every=2, evaluate_every=4)
    for task, metric in (("mackey-glass", "mse"), ("gesture", "accuracy")):
        (changed,) = rows[task, f"change of {metric} by each unbalanced loop"]
        (count,) = rows[task, "unbalanced loops"]
        split = "validation" if metric == "mse" else "test"
        (intact,) = rows[task, f"{split} {metric}, intact"]
        (without,) = rows[task, f"{split} {metric} without unbalanced loops"]
        assert changed * count == pytest.approx(without - intact)
        assert count + rows[task, "balanced loops"][0] == 15
    published = "mackey-glass, published networks"
    assert rows[published, "validation mse, intact"] == pytest.approx(
        [3.35e-4, 3.39e-4, 4.25e-4], rel=2e-3
    )
    assert (tmp_path / "lesions.png").stat().st_size > 20_000


@pytest.mark.exhaustive
def test_accuracy_is_measured_against_the_balance_of_fixed_weights(rows_of, tmp_path):
    rows = rows_of("zhang-initial-balance", steps=2, evaluate_every=2)
    for tenth in range(1, 10):
        (pooled,) = rows[f"balance 0.{tenth}", "balance, pooled"]
        assert pooled == pytest.approx(tenth / 10, abs=0.01)
    name = "rank correlation of accuracy with balance, pooled"
    assert -1 <= rows["all", name][0] <= 1
    assert 0 <= rows["all", "p of the correlation with balance, pooled"][0] <= 1
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["zhang-neural-ode", "zhang-ltc"])
def test_networks_in_continuous_time(rows_of, name):
    rows = rows_of(name, steps=6, every=2, evaluate_every=6, hidden=20)
    assert len({variant for variant, _ in rows}) == 3
    assert all(0 <= rows[key][0] <= 1 for key in rows if "accuracy" in key[1])


@pytest.mark.parametrize("task", ["mackey-glass", "gesture", "sms", "mnist"])
def test_fixed_weights_are_not_trained(task):
    variants = {each.name: each for each in EXPERIMENTS[f"zhang-{task}"].variants}
    for name, fixed in (("fixed weights", True), ("fixed wiring", False)):
        config = variants[name].config()
        network = config.network.recurrent(3, generator=torch.Generator().manual_seed(0))
        assert network.weight_hh_l0.values.requires_grad is not fixed
        assert config.method.name == "static"
    published = [name for name, each in variants.items() if "fixed" in name and each.published]
    assert published == ["fixed weights"]


def test_published_starts_are_those_of_the_publication():
    """N(0, 1/n) before the mask, constant rates; inputs of fixed weights on gestures N(0, 1/32)."""
    variants = {each.name: each for each in EXPERIMENTS["zhang-mackey-glass"].variants}
    for name, density, rate in (("pruning", 1.0, 1e-3), ("SET", 0.05, 2e-3)):
        config = variants[f"{name}, published protocol"].config()
        network = config.network.recurrent(1, generator=torch.Generator().manual_seed(0))
        weight = network.weight_hh_l0
        assert weight.density == pytest.approx(density, rel=0.01)
        assert weight.values.std().item() == pytest.approx(128**-0.5, rel=0.05)
        assert config.optimization.learning_rate == rate and config.steps == 6060
        assert config.optimization.scheduler == "constant"
    variants = {each.name: each for each in EXPERIMENTS["zhang-gesture"].variants}
    config = variants["fixed weights"].config()
    network = config.network.recurrent(32, generator=torch.Generator().manual_seed(0))
    assert network.weight_ih_l0.std().item() == pytest.approx(32**-0.5, rel=0.05)
    assert config.optimization.scheduler == "constant" and config.steps == 4200


def lesions(metric_of_balanced, intact=1.0):
    """Lesions after which each unbalanced loop costs 1, a balanced one more, three links 0.5."""

    def curve(steps, cost):
        metric = intact + cost * np.arange(steps + 1.0)
        return LesionCurve(3 * np.arange(steps + 1)[None], metric[None])

    curves = {
        "unbalanced": curve(4, 1.0),
        "balanced": curve(11, metric_of_balanced),
        "both": curve(15, 2.0),
        "random links": curve(11, 0.5),
    }
    return Lesions(intact, curves)


def test_lesions_are_compared_at_equal_numbers():
    task = zhang_lesions.TASKS["mackey-glass"]
    rows = {
        row.quantity: row
        for row in zhang_lesions.rows_of("a", task, [lesions(3.0), lesions(4.0, intact=2.0)])
    }
    assert rows["validation mse, intact"].values == [1, 2]
    assert rows["validation mse without unbalanced loops"].values == [5, 6]
    assert rows["validation mse without balanced loops"].values == [34, 46]
    assert rows["validation mse without as many random links"].values == [3, 4]
    assert rows["change of mse by each unbalanced loop"].values == [1, 1]
    assert rows["change of mse by each balanced loop"].values == [3, 4]
    assert rows["change of mse by 3 random links"].values == [0.5, 0.5]
    assert rows["unbalanced loops"].values == [4, 4] and rows["balanced loops"].values == [11, 11]
    assert rows["validation mse, intact"].published == 3.44e-4


def test_bands_of_several_seeds_are_averaged():
    class Run:
        def __init__(self, seed, low):
            self.config = Config.published("gesture", seed=seed)
            band = {"pooled": {"low": low, "high": 1 - low}}
            entries = [{"step": step, "pooled": 0.7, "null": band} for step in (5, 10)]
            self.rewirings = [{"step": 1}, *entries]

    found = with_common_band([Run(0, 0.1), Run(4, 0.3)])
    assert [(each["step"], each["weight"]) for each in found] == [
        (5, "seed 0"), (10, "seed 0"), (5, "seed 4"), (10, "seed 4")
    ]  # fmt: skip
    assert [each.get("null") for each in found[2:]] == [None, None]
    for each in found[:2]:
        assert each["null"]["pooled"] == pytest.approx({"low": 0.2, "high": 0.8})
