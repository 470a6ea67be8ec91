"""Echo state regressor: its equation, its readout, and scikit-learn's ways of using it."""

import importlib

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402
from testing import refusals  # noqa: E402

from sparse_engine.analysis import spectral_radius  # noqa: E402
from sparse_engine.estimators import EchoState  # noqa: E402

module = importlib.import_module("sparse_engine.estimators.echo_state")


def waves(steps, sequences=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = (steps, 3) if sequences is None else (sequences, steps, 3)
    return rng.uniform(-1, 1, shape)


def states_of(model, x):
    """The equation of the class, step by step in NumPy."""
    reservoir = model.reservoir_
    w, into = (each.to_dense().detach().numpy() for each in (reservoir.weight, reservoir.w_input))
    h, states = np.zeros(len(w)), []
    for step in x:
        new = np.tanh(into @ np.append(step, 1) + w @ h)
        h = (1 - model.leak) * h + model.leak * new
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize("leak", [1.0, 0.3])
@pytest.mark.parametrize(("decomposed", "alpha"), [(3000, 1e-3), (0, 1e-3), (0, 10.0)])
@pytest.mark.parametrize("flat", [True, False])
def test_a_fit_is_ridge_regression_on_the_states(leak, decomposed, alpha, flat, monkeypatch):
    monkeypatch.setattr(module, "DECOMPOSED", decomposed)
    x = waves(200)
    y = np.roll(x, 2, axis=0)[:, 0] if flat else np.roll(x, 2, axis=0)[:, :2]
    model = EchoState(
        40, density=0.2, leak=leak, bias_scale=0.5, alpha=alpha, washout=10, dtype="float64",
        random_state=1,
    ).fit(x, y)  # fmt: skip
    states = states_of(model, x)
    expected = Ridge(alpha=alpha).fit(states[10:], y[10:])
    close = {"rtol": 1e-5, "atol": 1e-7} if alpha < 1 else {"rtol": 1e-2, "atol": 1e-3}
    np.testing.assert_allclose(model.coef_, expected.coef_, **close)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, **close)
    assert model.coef_.shape == expected.coef_.shape
    atol = 1e-6 if alpha < 1 else 1e-3
    np.testing.assert_allclose(model.predict(x), expected.predict(states), atol=atol)


def test_sequences_start_from_zero_and_are_fitted_together():
    x = waves(60, sequences=4)
    y = x[..., 0] * x[..., 1]
    model = EchoState(30, density=0.3, washout=5, dtype="float64", random_state=0).fit(x, y)
    states = np.stack([states_of(model, each) for each in x])
    expected = Ridge(alpha=model.alpha).fit(states[:, 5:].reshape(-1, 30), y[:, 5:].reshape(-1))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(model.predict(x)[2], model.predict(x[2]), atol=1e-12)


def test_long_series_are_run_in_parts(monkeypatch):
    x = waves(100)
    model = EchoState(30, leak=0.5, dtype="float64", random_state=0).fit(x, x)
    whole = model.predict(x)
    monkeypatch.setattr("sparse_engine.estimators.reservoir.CHUNK", 30 * 7)
    np.testing.assert_allclose(model.predict(x), whole, atol=1e-12)


@pytest.mark.parametrize(("units", "tolerance"), [(200, 1e-5), (800, 0.02)])
def test_the_spectral_radius_and_the_density(units, tolerance):
    x = waves(20)
    model = EchoState(units, density=0.02, spectral_radius=0.7, random_state=0).fit(x, x)
    weight = model.reservoir_.weight
    assert spectral_radius(weight) == pytest.approx(0.7, rel=tolerance)
    assert weight.nnz == round(0.02 * units * units)


def test_it_forecasts_mackey_glass():
    """The series is chaotic: repeating the last value has an error of 0.02 or more."""
    series = [1.2] * 18
    for _ in range(3000):
        series.append(series[-1] + 0.2 * series[-18] / (1 + series[-18] ** 10) - 0.1 * series[-1])
    x, y = np.array(series[:-6])[:, None], np.array(series[6:])
    model = EchoState(300, washout=100, leak=0.5, bias_scale=0.2, alpha=1e-6, random_state=0)
    prediction = model.fit(x[:2000], y[:2000]).predict(x)
    naive = np.mean((x[2200:, 0] - y[2200:]) ** 2)
    assert np.mean((prediction[2200:] - y[2200:]) ** 2) < 0.01 * naive


def test_scikit_learn_uses_it():
    x = waves(120)
    y = np.roll(x[:, 0], 1)
    model = make_pipeline(StandardScaler(), EchoState(30, random_state=0))
    search = GridSearchCV(
        model, {"echostate__leak": [1.0, 0.1]}, cv=TimeSeriesSplit(3), error_score="raise"
    ).fit(x, y)
    assert search.best_params_["echostate__leak"] == 1.0
    copy = clone(EchoState(77, leak=0.2))
    assert copy.get_params()["units"] == 77 and not hasattr(copy, "coef_")
    assert 0.5 < EchoState(100, random_state=0).fit(x, y).score(x, y) <= 1


def fitted(x=(9, 1), y=(9,), **parameters):
    return lambda: EchoState(**{"units": 5, "density": 0.5} | parameters).fit(
        np.ones(x), np.ones(y)
    )


test_what_does_not_fit_is_refused = refusals(
    ("expected units at least 1, found 0", fitted(units=0)),
    ("expected leak in", fitted(leak=0.0)),
    ("expected alpha greater than 0", fitted(alpha=0.0)),
    ("more than 9 steps", fitted(washout=9)),
    ("expected dtype 'float32' or 'float64'", fitted(dtype="int8")),
    ("expected X of shape", fitted((9,))),
    ("without empty", fitted((2, 9, 0))),
    ("expected y of the 1 x 9 steps", fitted(y=(8,))),
    ("expected y of the 2 x 9 steps", fitted((2, 9, 1))),
    ("expected y of", fitted(y=(9, 1, 1))),
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks():
    """Among them: nan, sparse and empty arrays, other inputs, predictions before a fit."""
    order = "the samples are the steps of a series"
    check_estimator(
        EchoState(20, density=0.3, dtype="float64", random_state=0),
        expected_failed_checks={
            "check_methods_sample_order_invariance": order,
            "check_methods_subset_invariance": order,
        },
    )


@pytest.mark.parametrize("sequences", [None, 2])
def test_complex_and_unending_series_are_refused(sequences):
    x = waves(20, sequences)
    model = EchoState(5, density=0.5).fit(x, x)
    for call in (lambda x, _: model.predict(x), model.fit, lambda y, x: model.fit(x, y)):
        with pytest.raises(ValueError, match=r"expected real [Xy], found complex128"):
            call(x + 1j, x)
        with pytest.raises(ValueError, match=r"Input [Xy] contains NaN"):
            call(np.where(x > 0.9, np.nan, x), x)


def test_names_of_a_data_frame():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(waves(20), columns=["a", "b", "c"])
    model = EchoState(5, density=0.5, random_state=0).fit(x, x)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(x[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(x.to_numpy())
