"""The task of continuing the Mackey-Glass series: data, error and forecasts on its own."""

import dataclasses

import numpy as np
import pytest
import torch

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import MackeyGlassContinuation
from sparse_engine.lab.tasks.mackey_glass import series, smape


def model_of(task, cell="lstm", dtype=torch.float64):
    network = RecurrentNetwork(hidden=9, density=0.3, cell=cell)
    return task.build(network, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_series_at_another_interval_is_the_same_curve():
    fine = series(520, interval=0.1)
    np.testing.assert_array_equal(series(52)[:51], fine[9::10][:51])
    np.testing.assert_array_equal(series(20, interval=2.6), fine[25::26])
    with pytest.raises(ValueError, match=r"multiple of 0\.1, found 0\.25"):
        series(3, interval=0.25)


def test_repetitions_begin_half_a_lyapunov_time_later():
    first, later = (MackeyGlassContinuation(repeat=repeat).values for repeat in (0, 4))
    assert len(first) == 1501
    assert later[:1351].equal(first[150:])
    assert 0.2 < first.min() < 0.6 and 1.1 < first.max() < 1.5  # the attractor of tau = 17
    with pytest.raises(ValueError, match="repeat of at least 0, found -1"):
        _ = MackeyGlassContinuation(repeat=-1).values


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
    from sparse_engine.lab.tasks import Step

    task = MackeyGlassContinuation(noise=0.1)
    model = model_of(task, dtype=torch.float32)
    losses = [task.loss(model, Step(number)).item() for number in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    silent = dataclasses.replace(task, noise=0.0)
    assert silent.loss(model, Step(0)).item() == silent.loss(model, Step(1)).item()
