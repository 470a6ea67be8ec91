"""Pictures and vectors of features: what the files have, published sets, and augmentation."""

import gzip

import numpy as np
import pytest
import torch
from lab.tasks.layouts import tiny_task
from torch.testing import assert_close

from sparse_engine.lab.tasks import TASKS, Examples, Step, cifar_10
from sparse_engine.lab.tasks.features import standardized


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes a task of written files."""
    place = tmp_path_factory.mktemp("data")
    return lambda name, **options: tiny_task(place, name, **options)


def test_real_madelon_is_the_published_one(data):
    path = data / "madelon"
    task = TASKS["madelon"](data=path)
    assert task.evaluate(ConstantModel(), "test")["accuracy"] == 0.5
    # The checksum in the published description of the data.
    assert sum(map(int, (path / "madelon_train.data").read_text().split())) == 488_083_511
    train = task.examples["train"].inputs
    assert_close(train.mean(0), torch.zeros(500), atol=1e-4, rtol=0)
    assert_close(train.std(0, correction=0), torch.ones(500), atol=1e-3, rtol=0)


class ConstantModel(torch.nn.Module):
    """Names class 0 always."""

    def forward(self, x):
        return torch.tensor([1.0, 0.0]).expand(len(x), 2)


def test_real_coil20_has_72_pictures_of_each_object(data):
    parts = TASKS["coil20"](data=data / "coil20").examples
    targets = torch.cat([part.targets for part in parts.values()])
    assert torch.bincount(targets).tolist() == [72] * 20
    levels = torch.cat([part.inputs for part in parts.values()])
    assert levels.min() == 0 and levels.max() == 1


def test_images_are_rows_pixels_or_vectors(make):
    task = make("mnist")
    file = gzip.decompress((task.data / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(file[16:], np.uint8).reshape(-1, 28, 28)
    rows, of_mlp = task.examples, make("mnist-mlp", data=task.data).examples
    assert torch.equal(rows["test"].inputs, torch.from_numpy(images / 255).float())
    assert torch.equal(rows["test"].targets, torch.arange(20) % 10)
    for split, vectors in of_mlp.items():
        assert torch.equal(vectors.inputs, rows[split].inputs.flatten(1))
        assert torch.equal(vectors.targets, rows[split].targets)
    pixels, permuted = (
        make("mnist", pixels=True, permuted=permuted).examples["test"].inputs
        for permuted in (False, True)
    )
    assert torch.equal(pixels, rows["test"].inputs.reshape(20, 784, 1))
    assert not torch.equal(permuted, pixels)
    # One order for all images: columns of the pixels are columns of the permuted ones.
    columns = {tuple(column) for column in pixels[..., 0].T.tolist()}
    assert {tuple(column) for column in permuted[..., 0].T.tolist()} == columns


def test_test_images_take_the_place_of_absent_training_images(data):
    task = TASKS["mnist"](data=data / "mnist")
    if (data / "mnist" / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("the training images are there")
    with pytest.warns(UserWarning, match=r"first 8,000 test images .* 2,000 remain"):
        parts = task.examples
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 7200,
        "validation": 800,
        "test": 2000,
    }
    assert parts["test"].inputs.shape == (2000, 28, 28)
    assert parts["train"].inputs.min() == 0 and parts["train"].inputs.max() == 1


def test_features_are_standardized_by_the_training_examples():
    train = Examples(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.zeros(2))
    test = Examples(torch.tensor([[4.0, 6.0]]), torch.zeros(1))
    parts = standardized({"train": train, "test": test})
    assert_close(parts["train"].inputs, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]) / 1.0001)
    assert parts["train"].inputs[:, 1].tolist() == [0, 0]
    assert_close(parts["test"].inputs, torch.tensor([[2 / 1.0001, 1e4]]))


def test_pictures_have_their_red_green_and_blue_in_order(make):
    task = make("cifar-10")
    record = np.fromfile(task.data / "data_batch_1.bin", np.uint8)[:3073]
    first = task.examples["train"]
    assert first.targets[0] == record[0]
    assert_close(first.inputs[0], torch.from_numpy(record[1:]).float() / 255)


def test_augmentation_turns_shifts_and_mirrors():
    # A bright left half: a mirrored picture has it on the right.
    picture = torch.zeros(400, 3, 32, 32)
    picture[..., :16] = 1
    changed = cifar_10.augmented(picture, torch.Generator().manual_seed(0))
    left, right = changed[..., 6].mean((1, 2)), changed[..., 25].mean((1, 2))
    assert ((left - right).abs() > 0.9).all()
    assert 0.4 < (left < right).double().mean() < 0.6
    # Angles tilt the edge, shifts move it: in the mean by 0, at most by a tenth.
    share = changed.mean((1, 2, 3))
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 0.07 < (share - 0.5).abs().max() < 0.11
    tilt = changed[:, 0, 4].sum(1) - changed[:, 0, 27].sum(1)
    assert 3 < tilt.abs().max() < 23 * np.tan(np.radians(10)) + 0.1


def test_augmented_batches_are_for_training_only(make):
    plain, changed = (make("cifar-10", batch_size=4, augment=augment) for augment in (False, True))
    steps = [Step(number) for number in (0, 0, 22)]
    first, again, later = (changed.batch(step).inputs for step in steps)
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert not torch.equal(first, plain.batch(steps[0]).inputs)
    assert torch.equal(plain.examples["test"].inputs, changed.examples["test"].inputs)


def test_too_many_pictures_are_refused(make):
    for sizes, message in (
        ({"train_size": 53}, r"at most 60 pictures .* found .*53.*8"),
        ({"train_size": 0}, "expected sizes of at least 1"),
        ({"test_size": 21}, "expected test_size of at most 20, found 21"),
    ):
        with pytest.raises(ValueError, match=message):
            make("fashion-mnist", **sizes).load()
