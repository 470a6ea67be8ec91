"""Series without end: each is what its equations or its file say, lane by lane."""

import math

import numpy as np
import pytest
import torch
from testing import refusals

from sparse_engine.lab.tasks import NextValue, Step
from sparse_engine.lab.tasks.next_value import GENERATED


def drawn(name, length, lanes=3, seed=0):
    found = GENERATED[name](lanes, length, np.random.default_rng(seed))
    assert found.shape == (lanes, length) and found.dtype == np.float64
    return found


def test_henon():
    for lane, values in enumerate(drawn("henon", 50)):
        x, y = 0.1 + 0.01 * lane, 0.0
        for value in values:
            assert value == pytest.approx(x, abs=1e-6)
            x, y = 1 - 1.4 * x * x + y, 0.3 * x


def test_mackey_glass():
    x = drawn("mackey-glass", 400)
    rise = 0.2 * x[:, :-18] / (1 + x[:, :-18] ** 10) - 0.1 * x[:, 17:-1]
    np.testing.assert_allclose(np.diff(x)[:, 17:], rise, atol=1e-12)
    assert (x[0] != x[1]).all() and 0.2 < x.min() < 0.6 < 1.1 < x.max() < 1.6


def test_lorenz():
    start = 1 + 0.1 * np.random.default_rng(5).standard_normal((3, 2))
    for lane, values in enumerate(drawn("lorenz", 100, lanes=2, seed=5)):
        x, y, z = map(float, start[:, lane])
        for step in range(400):
            if step % 2 == 0 and step >= 200:
                assert values[step // 2 - 100] == pytest.approx(x, abs=1e-6)
            rise = 10 * (y - x), x * (28 - z) - y, x * y - 8 * z / 3
            x, y, z = (each + 0.01 * by for each, by in zip((x, y, z), rise, strict=True))


def test_lanes_go_on_from_batch_to_batch():
    task = NextValue(series="henon", batch_size=4)
    (series,) = drawn("henon", 64 + 76 * 200 + 1, lanes=3)[2:]
    series = torch.from_numpy((series - series.mean()) / series.std()).float()
    for number in (0, 1, 74, 75):
        batch = task.batch(Step(number))
        first = 64 + 200 * (number % 75)
        assert batch.inputs.shape == batch.targets.shape == (4, 200, 1)
        torch.testing.assert_close(batch.inputs[2, :, 0], series[first : first + 200])
        torch.testing.assert_close(batch.targets[2, :, 0], series[first + 1 : first + 201])
    held_out = task.examples["validation"]
    torch.testing.assert_close(held_out.targets[2, :, 0], series[64 + 75 * 200 + 1 :])


@pytest.mark.parametrize(("name", "length"), [("sunspot", 3000), ("laser", 1000)])
def test_lanes_of_a_file_are_circular_shifts(name, length, tmp_path, monkeypatch):
    (tmp_path / "online").mkdir()
    file = tmp_path / "online" / f"{name}.txt"
    values = [i * 1777 % length for i in range(length)]  # each number once
    file.write_text("".join(f"{value}\n" for value in [*values, 9e9]))
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(tmp_path))
    mean, spread = (length - 1) / 2, math.sqrt((length**2 - 1) / 12)
    starts = []
    for seed in (0, 1):
        task = NextValue(series=name, batch_size=4, series_seed=seed)
        for number in (0, 3, 74):
            batch = task.batch(Step(number))
            found = (batch.inputs[..., 0] * spread + mean).round().int().tolist()
            following = (batch.targets[..., 0] * spread + mean).round().int().tolist()
            for lane, after in zip(found, following, strict=True):
                start = values.index(lane[0])
                wanted = [values[(start + k) % length] for k in range(201)]
                assert (lane, after) == (wanted[:-1], wanted[1:])
                starts.append((start - 200 * number - 64) % length)
    assert starts[:4] == starts[4:8] == starts[8:12]
    assert starts[12:16] != starts[:4] and len({*starts[:4]}) == 4
    for content in ("1\n1\n", "3\n", ""):
        file.write_text(content)
        with pytest.raises(ValueError, match="expected numbers that differ"):
            NextValue(series=name).prepare()


def test_biases_begin_at_zero_and_weights_at_an_eighth():
    task = NextValue()
    network = task.network(hidden=64, density=1.0, gain=1.0)
    state = task.build(network, generator=torch.Generator().manual_seed(0)).state_dict()
    for name, tensor in state.items():
        if "bias" in name:
            assert not tensor.any()
        elif name.endswith(("weight_ih_l0", "weight_hh_l0.values")):
            assert 0.11 < tensor.abs().max() <= 1 / 8


test_impossible_settings_are_refused = refusals(
    ("expected batch_size of at least 1 .*, found 0", lambda: NextValue(batch_size=0).prepare()),
    ("series_seed of at least 0, found 8 and -1", lambda: NextValue(series_seed=-1).prepare()),
)


def test_an_absent_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"sunspot.txt of the data set online in .*none"):
        NextValue(series="sunspot").prepare()
