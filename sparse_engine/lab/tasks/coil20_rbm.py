"""COIL20 task for restricted Boltzmann machines: reconstruct small pictures of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sparse_engine.lab.tasks.coil20 import coil20
from sparse_engine.lab.tasks.features import SET_RECIPE, Reconstruction
from sparse_engine.lab.tasks.files import FromFiles
from sparse_engine.lab.tasks.supervised import Examples
from sparse_engine.models import set_density


@dataclass(frozen=True)
class COIL20RBM(FromFiles, Reconstruction):
    """Reconstruction of the pictures of :class:`COIL20`, the experiment of SET-RBM.

    The published split has 960 pictures for training and 480 for test. Here 96 of the 960 are for
    validation, so that 864 remain. The recipe is the published one; its weight decay, which is not
    multiplied by the learning rate there, is divided by it here.
    """

    batch_size: int = 10
    """Pictures in a batch."""

    name = "coil20-rbm"
    summary = "reconstruct pictures of 32 x 32 pixels, by contrastive divergence"
    recipe: ClassVar[dict[str, Any]] = {
        **SET_RECIPE,
        "density": set_density(10, 1024, 200),
        "hidden": 200,
        "learning_rate": 0.1,
        "optimizer_options": {"weight_decay": 2e-6},
        "steps": 86 * 1000,
        "every": 86,
        "evaluate_every": 860,
        "save_every": 8600,
    }

    def load(self) -> Mapping[str, Examples]:
        """Read and split the pictures; see :func:`sparse_engine.lab.tasks.coil20.coil20`."""
        parts = coil20(self.data).items()
        return {name: replace(part, targets=part.inputs) for name, part in parts}
