"""Positions of the links of the first layer, with weight decay and without: Synapses on MNIST.

Synapses is a layer for SET in PyTorch, with a demonstration on written digits. Its users found that
links gather at pixels that are always dark: no gradient changes their random values there, so they
are never removed. Weight decay draws these values to 0, and SET then replaces the links.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from torch import Tensor

from sparse_engine import convert
from sparse_engine.lab.experiments.training import Experiment, Finished, Plan, Row, trained
from sparse_engine.lab.train import Config, read_weights
from sparse_engine.nn import SparseWeight
from sparse_engine.topology import SET, NewLinkInit, NormalInit
from sparse_engine.topology.grow import ZeroInit

SIDE, EPOCHS = 28, 200
#: Pixels around the square of 20 x 20 that digits fill, and around that of 14 x 14 in the centre.
BORDER, CENTRE = 4, 7
#: Standard deviation of the published initial values.
STD = (2 / SIDE**2) ** 0.5
DECAYS = (0.0, 2e-4, 2e-3)
NEW_LINKS: dict[str, NewLinkInit] = {
    "random new links": NormalInit(STD),
    "new links of 0": ZeroInit(),
}


class Synapses(Experiment):
    """Distribution of the first layer's links over the pixels of MNIST."""

    name = "synapses"
    summary = "pixels at which SET places the links of hidden units, with weight decay and without"
    source = "the demonstration of Synapses 0.0.14 on MNIST, and a report of its users"

    def rows(self, plan: Plan) -> list[Row]:
        """Train each variant, and count the links of pixels of several kinds."""
        rows = []
        for decay, (rule, new_links) in product(DECAYS, NEW_LINKS.items()):
            config = settings(plan, decay)
            variant, runs = f"weight decay {decay:g}, {rule}", []
            for seed in plan.seeds:
                folder = plan.folder / variant.replace(" ", "-") / f"seed{seed}"
                method = partial(SET, every=config.method.every, seed=seed, new_links=new_links)
                runs.append(trained(folder, config.replaced(seed=seed), method))
            accuracies = [run.result.last["test"]["accuracy"] for run in runs]
            seconds = [run.result.seconds for run in runs]
            rows.append(Row(variant, "test accuracy", accuracies, None, True, seconds))
            kinds = {
                "constant": constant_pixels(config.task.examples["train"].inputs),  # type: ignore[attr-defined]
                "border": ~square(BORDER),
                "central": square(CENTRE),
            }
            for kind, pixels in kinds.items():
                counts = [relative(run, pixels) for run in runs]
                rows.append(Row(variant, f"links of {kind} pixels, of the mean", counts))
        return rows


def settings(plan: Plan, decay: float) -> Config:
    """Return the settings of a run: those of the demonstration, with fewer epochs."""
    options = {"momentum": 0.9, "weight_decay": decay}
    given = {"optimizer_options": options, "initial_std": STD, **plan.settings}
    config = Config.published("mnist-mlp", **given)
    epoch = config.task.batches  # type: ignore[attr-defined]
    epochs = {
        "every": epoch,
        "steps": EPOCHS * epoch,
        "evaluate_every": 20 * epoch,
        "save_every": 100 * epoch,
    }
    return config.replaced(**epochs | given)


def constant_pixels(images: Tensor) -> Tensor:
    """Return which pixels are equal in all images, bool ``[pixels]``, for ``[images, pixels]``."""
    return (images == images[0]).all(0)


def square(first: int) -> Tensor:
    """Return which pixels are in the square from row and column ``first`` on, in the centre."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[first : SIDE - first, first : SIDE - first] = True
    return mask.flatten()


def relative(run: Finished, pixels: Tensor) -> float:
    """Return the mean number of links of some pixels at the end, over that of all pixels."""
    weight = read_weights(run.folder)["layers.linear0.weight"]
    links = weight if isinstance(weight, SparseWeight) else convert.from_scipy(weight)
    fan_out = links.fan_out().double()
    return float(fan_out[pixels].mean() / fan_out.mean())
