"""Fashion-MNIST task: what kind of clothing a picture shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification
from sparse_engine.lab.tasks.files import FromFiles
from sparse_engine.lab.tasks.readers import read_images
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.models import set_density

SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
#: SHA-256 of the images and labels.
HASHES = {
    "train": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    "t10k": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}


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
        read = partial(read_images, dataset=self.name, site=SITE, hashes=HASHES, folder=self.data)
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
