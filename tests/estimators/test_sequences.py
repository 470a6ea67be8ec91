"""Classifier and regressor of sequences, with the real skorch and scikit-learn."""

from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("skorch", reason="skorch is not installed")
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sparse_engine.callbacks.skorch import Rewire
from sparse_engine.estimators.sequences import SequenceClassifier, SequenceRegressor
from sparse_engine.nn import SparseWeight
from sparse_engine.topology import SET


def series(sequences=160, steps=6, inputs=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sequences, steps, inputs)).astype(np.float32)
    return x, x[:, 2:, 0].sum(1)


OPTIONS = {"train_split": None, "verbose": 0, "max_epochs": 25, "lr": 0.02, "module__hidden": 32}


def test_a_classifier_learns_while_links_are_rewired():
    torch.manual_seed(0)
    x, total = series()
    y = (total > 0).astype(np.int64)
    rewire = Rewire(partial(SET, fraction=0.2, every=5))
    model = SequenceClassifier(
        **OPTIONS, module__cell="gru", module__density=0.2, callbacks=[rewire]
    ).fit(x, y)
    assert model.score(x, y) > 0.9
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1, atol=1e-5)
    (weight,) = [m for m in model.module_.modules() if isinstance(m, SparseWeight)]
    assert weight.density == pytest.approx(0.2, abs=0.01) and weight.topology_version > 5
    assert model.history[-1]["turnover"] > 0


def test_a_regressor_learns_in_a_search():
    torch.manual_seed(0)
    x, total = series()
    model = SequenceRegressor(**OPTIONS, module__density=0.3)
    grid = {"module__cell": ["rnn", "lstm"], "max_epochs": [1, 25]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(x, total[:, None])
    assert search.best_params_["max_epochs"] == 25 and search.best_score_ > 0.5
    copy = clone(search.best_estimator_)
    assert copy.get_params()["module__density"] == 0.3 and not copy.initialized_


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_what_does_not_fit_is_refused(kind):
    x, y = series()
    with pytest.raises(ValueError, match="expected X of shape"):
        kind(**OPTIONS).fit(x[0], y[:, None])
    with pytest.raises(ValueError, match=r"expected cell in \['gru', 'lstm', 'rnn'\]"):
        kind(**OPTIONS, module__cell="x").fit(x, (y[:, None] > 0).astype(np.float32))
    if kind is SequenceRegressor:
        with pytest.raises(ValueError, match="expected y of shape"):
            kind(**OPTIONS).fit(x, y)
