"""MNIST: rows and pixels, splits, and damaged files."""

import gzip

import numpy as np
import pytest
import torch
from lab.tasks.layouts import write_idx

from sparse_engine.lab.tasks import MNIST


def raw(task, part):
    data = gzip.decompress((task.data / f"{part}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(data[16:], np.uint8).reshape(-1, 28, 28)


def test_rows_are_steps(tiny):
    task = tiny("mnist")
    parts = task.examples
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 55,
        "validation": 5,
        "test": 20,
    }
    images = torch.from_numpy(raw(task, "train") / 255).float()
    assert torch.equal(torch.cat([parts["train"].inputs, parts["validation"].inputs]), images)
    assert torch.equal(parts["test"].targets, torch.arange(20) % 10)


def test_pixels_are_steps_permuted_alike(tiny):
    rows = tiny("mnist").examples["test"].inputs
    pixels = tiny("mnist", pixels=True).examples["test"].inputs
    assert torch.equal(pixels, rows.reshape(20, 784, 1))
    permuted = tiny("mnist", pixels=True, permuted=True).examples["test"].inputs
    assert not torch.equal(permuted, pixels)
    # One order for all images: columns of the pixels are columns of the permuted ones.
    columns = {tuple(column) for column in pixels[..., 0].T.tolist()}
    assert {tuple(column) for column in permuted[..., 0].T.tolist()} == columns


def test_test_images_take_the_place_of_absent_training_images(data):
    task = MNIST(data=data / "mnist")
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


def test_images_without_labels_are_refused(tiny):
    task = tiny("mnist")
    write_idx(task.data / "t10k-labels-idx1-ubyte.gz", np.zeros(19))
    with pytest.raises(ValueError, match=r"a label for each of 20 images of .* found 19 in .*t10k"):
        task.load()
