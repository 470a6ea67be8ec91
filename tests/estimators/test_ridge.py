"""Readouts by ridge regression: equal to scikit-learn's in float64, by either way."""

import importlib

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from sklearn.linear_model import Ridge

ridge = importlib.import_module("sparse_engine.estimators.ridge")


def states(samples, features, dtype=torch.float32, seed=0):
    """States that vary much in few directions, around means that are much larger."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(features, features)) * 0.8 ** np.arange(features)
    x = rng.normal(size=(samples, features)) @ directions.T + 5 * rng.normal(size=features)
    y = x[:, :2] - x[:, 2:4] + 0.1 * rng.normal(size=(samples, 2))
    return torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)


def excess(x, y, penalty):
    """Return by which fraction of the least objective the one of a readout is greater."""
    w, b = (each.double().numpy() for each in ridge.ridge(x, y, penalty))
    x, y = x.double().numpy(), y.double().numpy()
    best = Ridge(alpha=penalty).fit(x, y)

    def objective(w, b):
        return ((x @ w + b - y) ** 2).sum() + penalty * (w**2).sum()

    return objective(w, b) / objective(best.coef_.T, best.intercept_) - 1


@pytest.fixture
def ways(monkeypatch):
    """Small sizes, and the ways that solutions have come by."""
    taken = []
    for name in ("_iterate", "_decompose"):
        solve = getattr(ridge, name)
        monkeypatch.setattr(
            ridge, name, lambda *a, name=name, solve=solve: taken.append(name) or solve(*a)
        )
    monkeypatch.setattr(ridge, "DECOMPOSED", 20)
    monkeypatch.setattr(ridge, "SUBSET", 50)
    monkeypatch.setattr(ridge, "COLUMNS", 7)
    return taken


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_iterations_solve_many_features(dtype, ways, monkeypatch):
    monkeypatch.setattr(ridge, "ITERATIONS", 20)
    x, y = states(600, 60, dtype)
    assert 0 <= excess(x, y, 100.0) < 1e-5
    assert ways == ["_iterate"]


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_small_penalties_are_not_lost_in_rounding(penalty, ways):
    x, y = states(600, 60)
    assert -1e-9 < excess(x, y, penalty) < 1e-5
    assert ways == ["_decompose"]


def test_few_features_are_decomposed_and_few_samples_suffice(ways):
    x, y = states(10, 15)
    assert -1e-9 < excess(x, y, 100.0) < 1e-5
    assert ways == ["_decompose"]


def test_without_an_end_of_the_iterations_the_decomposition_follows(ways, monkeypatch):
    monkeypatch.setattr(ridge, "ITERATIONS", 1)
    x, y = states(600, 60)
    assert -1e-9 < excess(x, y, 100.0) < 1e-5
    assert ways == ["_iterate", "_decompose"]
