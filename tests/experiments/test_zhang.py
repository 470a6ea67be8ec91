"""Experiments of Zhang et al., on short runs."""

import math

import pytest

from sparse_engine.experiments import EXPERIMENTS, Plan


@pytest.fixture
def rows_of(tmp_path, data, monkeypatch):
    """The rows of an experiment with one seed and other settings, by variant and quantity."""
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(data))

    def run(name, seeds=(0,), **settings):
        rows = EXPERIMENTS[name]().rows(Plan(tmp_path, seeds=seeds, workers=1, settings=settings))
        assert all(len(row.values) == len(seeds) for row in rows)
        return {(row.variant, row.quantity): row.values for row in rows}

    return run


def test_balance_along_training_is_beside_that_of_permuted_signs(rows_of, tmp_path):
    rows = rows_of("zhang-balance", steps=20, every=2, evaluate_every=20, hidden=64)
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
