"""MNIST task for multilayer perceptrons: written digits, all pixels at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sparse_engine.lab.tasks.features import SET_RECIPE, FeatureClassification
from sparse_engine.lab.tasks.files import FromFiles
from sparse_engine.lab.tasks.mnist import mnist
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.models import set_density


@dataclass(frozen=True)
class MNISTMLP(FromFiles, FeatureClassification):
    """Images and splits of :class:`sparse_engine.lab.tasks.MNIST` as vectors of 784 pixels.

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
        "learning_rate": 0.01,
        "optimizer_options": {"momentum": 0.9, "weight_decay": 2e-4},
        "steps": 107 * 20,
        "every": 107,
        "evaluate_every": 107,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the images; see :func:`sparse_engine.lab.tasks.mnist.mnist`."""
        return mnist(self.data)
