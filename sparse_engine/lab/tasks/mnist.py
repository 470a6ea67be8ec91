"""MNIST and Fashion-MNIST: images of 28 x 28 grey levels, as sequences and as vectors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification
from sparse_engine.lab.tasks.files import FromFiles
from sparse_engine.lab.tasks.readers import read_images
from sparse_engine.lab.tasks.sequences import ZHANG_RECIPE, ImageSequences
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.lab.tasks.task import seeded
from sparse_engine.models import set_density

SITE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
#: SHA-256 of each file by the beginning of its name.
HASHES = {
    "train-images-idx3": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION_SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_HASHES = {
    "train-images-idx3": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


@dataclass(frozen=True)
class MNIST(FromFiles, ImageSequences):
    """Handwritten digits (LeCun et al. 1998) of 28 x 28 pixels in [0, 1], read as sequences.

    Of the 60,000 training images the last 5,000 are for validation; the 10,000 test images are the
    published ones. Where the training images cannot be had, the first 8,000 test images take their
    place, the last 800 of them for validation, and 2,000 remain for test; a warning says so. The
    metric is the fraction of images whose digit is named right.
    """

    batch_size: int = 128
    """Images in a batch."""
    permuted: bool = False
    """Whether all images have their pixels in one random order (Le et al. 2015)."""
    faithful: bool = False
    """Whether to keep the published flaw: only the first 500 test images count."""

    name = "mnist"
    summary = "written digits of 28 x 28 pixels, row by row or pixel by pixel"
    recipe: ClassVar[dict[str, Any]] = {
        **ZHANG_RECIPE,
        "steps": 10_050,
        "every": 50,
        "evaluate_every": 250,
        "learning_rate": 1e-3,
        "fraction": 0.2,
        "hidden": 150,
        "input_std": 0.189,
        "readout_std": 1.0,
    }
    answers: ClassVar[int] = 10
    side: ClassVar[int] = 28

    def load(self) -> Mapping[str, Examples]:
        """Read and split the images."""
        order = torch.randperm(784, generator=seeded(0)) if self.permuted else slice(None)
        parts = {
            name: Examples(part.inputs[:, order].view(-1, self.steps, self.features), part.targets)
            for name, part in mnist(self.data).items()
        }
        if self.faithful:
            parts["test"] = parts["test"][:500]
        return parts


def mnist(folder: Path | None) -> dict[str, Examples]:
    """Read and split the images of MNIST, ``[images, 784]``, and their digits."""
    read = partial(read_images, dataset=MNIST.name, site=SITE, hashes=HASHES, folder=folder)
    test = read("t10k")
    try:
        train = read("train")
    except FileNotFoundError as error:
        place = len(test) * 4 // 5
        warnings.warn(
            f"expected the training images of mnist, found none ({error}); the first "
            f"{place:,} test images take their place, and {len(test) - place:,} remain",
            stacklevel=2,
        )
        train, test = test[:place], test[place:]
        held_out = place // 10
    else:
        held_out = len(train) // 12
    kept = len(train) - held_out
    return {"train": train[:kept], "validation": train[kept:], "test": test}


@dataclass(frozen=True)
class MNISTMLP(FromFiles, FeatureClassification):
    """Images and splits of :class:`MNIST` as vectors of 784 pixels.

    The recipe is that of the demonstration of Synapses, a PyTorch layer for SET, with as many
    epochs as take a minute.
    """

    batch_size: int = 512
    """Images in a batch."""

    name = "mnist-mlp"
    summary = "written digits of 28 x 28 pixels, all at once"
    answers: ClassVar[int] = 10
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(11, 784, 512, 128, 10),
        "hidden": [512, 128],
        "optimizer_options": {"momentum": 0.9, "weight_decay": 2e-4},
        "steps": 107 * 20,
        "every": 107,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the images."""
        return mnist(self.data)


@dataclass(frozen=True)
class FashionMNIST(FromFiles, FeatureClassification):
    """Pictures of clothing (Xiao et al. 2017): 10 kinds, 28 x 28 grey levels in [0, 1].

    The first training images are for training, the last for validation, and the first test images
    for test. The defaults are the numbers of the published tutorial of SET, and the recipe is its
    other settings. The metric is the fraction of pictures whose kind is named right.
    """

    batch_size: int = 40
    """Pictures in a batch."""
    train_size: int = 2_000
    """Pictures for training, up to 60,000 less those for validation."""
    validation_size: int = 1_000
    """Pictures for validation."""
    test_size: int = 1_000
    """Pictures for test, up to 10,000."""

    name = "fashion-mnist"
    summary = "what kind of clothing a picture of 28 x 28 pixels shows"
    answers: ClassVar[int] = 10
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(13, 784, 1000, 1000, 1000, 10),
        "hidden": [1000, 1000, 1000],
        "initial_std": 0.1,
        "dropout": 0.2,
        "learning_rate": 0.05,
        "optimizer_options": {"momentum": 0.9, "weight_decay": 2e-4},
        "steps": 50 * 400,
        "every": 50,
        "evaluate_every": 500,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the pictures."""
        read = partial(
            read_images,
            dataset=self.name,
            site=FASHION_SITE,
            hashes=FASHION_HASHES,
            folder=self.data,
        )
        train, test = read("train"), read("t10k")
        wanted = {"train_size": self.train_size, "validation_size": self.validation_size}
        if min(*wanted.values(), self.test_size) < 1 or sum(wanted.values()) > len(train):
            raise ValueError(
                f"expected sizes of at least 1, with at most {len(train):,} pictures for training "
                f"and validation, found {wanted} and test_size = {self.test_size}"
            )
        if self.test_size > len(test):
            raise ValueError(f"expected test_size of at most {len(test):,}, found {self.test_size}")
        first = len(train) - self.validation_size
        parts = {"train": train[: self.train_size], "validation": train[first:]}
        return {**parts, "test": test[: self.test_size]}
