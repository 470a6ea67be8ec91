"""Data that libraries ship: digits of scikit-learn, vowels of aeon, the laser of reservoirpy."""

import pytest
import torch
from torch import nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import Digits, JapaneseVowels, Laser


def test_digits_are_whole_and_in_range():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    rows, pixels, digits = Digits().examples, Digits(pixels=True).examples, datasets.load_digits()
    whole = torch.cat([part.inputs for part in rows.values()])
    assert whole.sum().item() == pytest.approx(digits.data.sum() / 16, rel=1e-5)
    assert whole.min() == 0 and whole.max() == 1
    known = dict(zip(map(tuple, digits.data.astype(int).tolist()), digits.target, strict=True))
    for name, part in rows.items():
        assert torch.equal(pixels[name].inputs, part.inputs.reshape(-1, 64, 1))
        assert torch.equal(pixels[name].targets, part.targets)
        images = (16 * part.inputs.reshape(-1, 64)).round().int().tolist()
        assert [known[tuple(image)] for image in images] == part.targets.tolist()


def test_vowels_keep_their_lengths(aeon):
    parts = JapaneseVowels().examples
    assert parts["validation"].targets.bincount().tolist() == [6] * 9
    assert parts["test"].targets.unique().tolist() == list(range(9))
    lengths = torch.cat([part.lengths for part in parts.values()])
    assert lengths.min() == 7 and lengths.max() == 29
    for part in parts.values():
        padding = torch.arange(29) >= part.lengths[:, None]
        assert not part.inputs[padding].any()
        assert part.inputs[torch.arange(len(part)), part.lengths - 1].any(1).all()


def test_padding_does_not_change_what_a_network_says(aeon):
    task = JapaneseVowels()
    generator = torch.Generator().manual_seed(0)
    model = task.build(RecurrentNetwork(hidden=16, density=0.3), generator=generator)
    some = task.examples["test"][:8]
    outputs = task.outputs(model, some)
    for row in range(8):
        alone = model(some.inputs[row, : some.lengths[row], None])
        torch.testing.assert_close(outputs[row], alone[0])


def test_the_laser_is_cut_into_windows():
    pytest.importorskip("reservoirpy", reason="reservoirpy is not installed")
    task = Laser()
    parts = task.examples
    for part in parts.values():
        assert torch.equal(part.inputs[:, 1:], part.targets[:, :-1])
    trained = torch.cat([parts["train"].inputs[0, :, 0], parts["train"].targets[:, -1, 0]])
    assert len(trained) == 6000 and abs(float(trained.mean())) < 1e-5
    assert float(trained.std()) == pytest.approx(1, rel=1e-5)
    # Each value that counts, but for a rest, is the target of one window.
    counted = parts["test"].targets[:, task.washout :].flatten()
    assert len(counted) == 40 * 50 and len(counted) > 2093 - 51 - 50


def test_the_first_steps_of_a_laser_window_do_not_count():
    outputs, targets = torch.randn(3, 100, 1), torch.randn(3, 100, 1)
    found = Laser().measures(outputs, targets)
    expected = nn.functional.mse_loss(outputs[:, 50:], targets[:, 50:])
    torch.testing.assert_close(found["loss"], expected)
    assert found["nmse"] == found["loss"]
