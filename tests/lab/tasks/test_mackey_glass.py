"""The Mackey-Glass series, and the tasks of forecasting and of continuing it."""

import dataclasses

import numpy as np
import pytest
import torch
from testing import refusals
from torch import nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import MackeyGlass, MackeyGlassContinuation, Step
from sparse_engine.lab.tasks.mackey_glass import series, smape


@pytest.fixture(scope="module")
def values():
    return series(50_000)


def test_has_the_published_statistics(values):
    assert values.dtype == np.float64 and values.shape == (50_000,)
    found = values.min(), values.max(), values.mean(), values.std()
    assert found == pytest.approx((-0.52815, 0.31158, -0.06543, 0.21612), abs=3e-3)


def test_is_distributed_like_the_reference_series(values, data):
    reference = np.loadtxt(data / "mackey_glass" / "MackeyGlass_t17.txt")
    assert reference.shape == values.shape
    quantiles = np.linspace(0.02, 0.98, 49)
    distance = np.quantile(values, quantiles) - np.quantile(reference, quantiles)
    assert np.abs(distance).max() < 5e-3


def test_solves_the_equation(values):
    """One unit of time on lies what variation of constants gives from 17 units of history."""
    x = 1 + np.arctanh(values)
    drive = 0.2 * x[:-17] / (1 + x[:-17] ** 10)
    begin, end = drive[1:-2], drive[2:-1]
    middle = (9 * (begin + end) - drive[:-3] - drive[3:]) / 16
    integral = (begin * np.exp(-0.1) + 4 * middle * np.exp(-0.05) + end) / 6
    expected = x[18:-2] * np.exp(-0.1) + integral
    assert np.abs(x[19:-1] - expected).max() < 1.5e-3


def test_is_a_function_of_the_seed():
    assert np.array_equal(series(200, seed=3), series(200, seed=3))
    assert not np.array_equal(series(200, seed=3), series(200, seed=4))
    assert np.array_equal(series(300, seed=3)[:200], series(200, seed=3))
    assert not np.array_equal(series(200, tau=23), series(200))


test_what_makes_no_series_is_refused = refusals(
    ("expected length and tau of at least 1", lambda: series(0)),
    ("expected length and tau of at least 1", lambda: series(10, tau=0)),
    (r"multiple of 0\.1, found 0\.25", lambda: series(3, interval=0.25)),
    ("repeat of at least 0, found -1", lambda: MackeyGlassContinuation(repeat=-1).values),
)


def test_batches_are_the_published_windows(values):
    task = MackeyGlass()
    rows = torch.from_numpy(values[: 12 * 3_333].reshape(12, 3_333)).float()
    for step in (0, 1, 5, 6, 17):
        start = step % 6 * 500
        batch = task.batch(Step(step))
        assert batch.inputs.shape == (12, 500, 1) and batch.targets.shape == (12, 50)
        assert torch.equal(batch.inputs[:, :, 0], rows[:, start : start + 500])
        assert torch.equal(batch.targets, rows[:, start + 500 : start + 550])


def test_validation_is_the_published_windows(values):
    windows = MackeyGlass().examples["validation"]
    held_out = torch.from_numpy(values[40_000:]).float()
    assert windows.inputs.shape == (19, 500, 1) and windows.targets.shape == (19, 50)
    for k in range(19):
        assert torch.equal(windows.inputs[k, :, 0], held_out[500 * k : 500 * k + 500])
        assert torch.equal(windows.targets[k], held_out[500 * k + 500 : 500 * k + 550])


def build(task, seed=0, hidden=32):
    network = RecurrentNetwork(hidden=hidden, density=0.2, input_std=1.0)
    return task.build(network, generator=torch.Generator().manual_seed(seed))


def test_evaluate_is_the_mean_over_windows():
    task = MackeyGlass()
    model = build(task)
    x, y = task.examples["validation"].inputs.transpose(0, 1), task.examples["validation"].targets
    with torch.no_grad():
        each = [nn.functional.mse_loss(model(x[:, [k]]), y[[k]]).item() for k in range(19)]
    assert task.evaluate(model)["mse"] == pytest.approx(sum(each) / 19, rel=1e-5)


def test_initial_values_are_the_published_ones():
    model = build(MackeyGlass(), hidden=2_000)
    bound = (6 / (2_000 + 50)) ** 0.5
    weight = model.readout.weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert model.recurrent.weight_ih_l0.std().item() == pytest.approx(1, abs=0.05)
    zeros = (model.readout.bias, model.recurrent.bias_ih_l0, model.recurrent.bias_hh_l0)
    assert not any(bias.any() for bias in zeros)


def model_of(task, cell="lstm", dtype=torch.float64):
    network = RecurrentNetwork(hidden=9, density=0.3, cell=cell)
    return task.build(network, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_series_at_another_interval_is_the_same_curve():
    fine = series(520, interval=0.1)
    np.testing.assert_array_equal(series(52)[:51], fine[9::10][:51])
    np.testing.assert_array_equal(series(20, interval=2.6), fine[25::26])


def test_repetitions_begin_half_a_lyapunov_time_later():
    first, later = (MackeyGlassContinuation(repeat=repeat).values for repeat in (0, 4))
    assert len(first) == 1501
    assert later[:1351].equal(first[150:])
    assert 0.2 < first.min() < 0.6 and 1.1 < first.max() < 1.5  # the attractor of tau = 17


def test_error_is_symmetric_and_bounded():
    values = torch.tensor([1.0, 2.0, 4.0])
    assert smape(values, values) == 0
    assert smape(3 * values, values) == smape(values, 3 * values) == 100
    assert smape(torch.tensor([torch.nan, torch.inf, -4.0]), values) == 200


def test_windows_end_where_their_targets_follow():
    task = MackeyGlassContinuation()
    windows, following = task.training
    scaled, mean, spread = task.standardized()
    assert windows.shape == (750, 1, 50) and len(following) == 750
    assert windows[60, 0].equal(scaled[11:61]) and following[60] == scaled[61]
    assert not windows[0, 0, :49].any()
    torch.testing.assert_close((scaled * spread + mean).double(), task.values, atol=1e-6, rtol=0)
    assert abs(scaled[:750].mean()) < 1e-5 and abs(scaled[:750].std() - 1) < 1e-5


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_predictions_become_inputs(cell):
    """A continuation equals one pass over a series in which the predictions stand already."""
    task = MackeyGlassContinuation()
    torch.set_default_dtype(torch.float64)
    try:
        model = model_of(task, cell)
        found = task.continuation(model, 99, 12)
        scaled, mean, spread = task.standardized()
        given = torch.cat([scaled[:100], (found[:-1] - mean) / spread])
        windows = torch.nn.functional.pad(given, (49, 0)).unfold(0, 50, 1).unsqueeze(1)
        with torch.no_grad():
            outputs = model(windows).flatten()[99:] * spread + mean
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(outputs, found)


def test_noise_follows_from_the_step():
    task = MackeyGlassContinuation(noise=0.1)
    model = model_of(task, dtype=torch.float32)
    losses = [task.loss(model, Step(number)).item() for number in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    silent = dataclasses.replace(task, noise=0.0)
    assert silent.loss(model, Step(0)).item() == silent.loss(model, Step(1)).item()
