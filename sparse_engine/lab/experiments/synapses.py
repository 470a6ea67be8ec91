"""Positions of the links of the first layer, with weight decay and without: Synapses on MNIST.

Synapses is a layer for SET in PyTorch, with a demonstration on written digits. Its users found that
links gather at pixels that are always dark: no gradient changes their random values there, so they
are never removed. Weight decay draws these values to 0, and SET then replaces the links.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor

from sparse_engine import convert
from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.train import Config, StoredRun, read_weights
from sparse_engine.lab.train.run import MethodFactory
from sparse_engine.nn import SparseWeight
from sparse_engine.topology import SET, NewLinkInit, NormalInit
from sparse_engine.topology.grow import ZeroInit

SIDE = 28
#: Steps of an epoch of MNIST in batches of 512.
EPOCH = 107
#: Pixels around the square of 20 x 20 that digits fill, and around that of 14 x 14 in the centre.
BORDER, CENTRE = 4, 7
#: Standard deviation of the published initial values.
STD = (2 / SIDE**2) ** 0.5
DECAYS = (0.0, 2e-4, 2e-3)
NEW_LINKS: dict[str, NewLinkInit] = {
    "random new links": NormalInit(STD),
    "new links of 0": ZeroInit(),
}


def constant_pixels(images: Tensor) -> Tensor:
    """Return which pixels are equal in all images, bool ``[pixels]``, for ``[images, pixels]``."""
    return (images == images[0]).all(0)


def square(first: int) -> Tensor:
    """Return which pixels are in the square from row and column ``first`` on, in the centre."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[first : SIDE - first, first : SIDE - first] = True
    return mask.flatten()


def relative(run: StoredRun, pixels: Tensor) -> float:
    """Return the mean number of links of some pixels at the end, over that of all pixels."""
    weight = read_weights(run.folder)["layers.linear0.weight"]
    links = weight if isinstance(weight, SparseWeight) else convert.from_scipy(weight)
    fan_out = links.fan_out().double()
    return float(fan_out[pixels].mean() / fan_out.mean())


def set_with(new_links: NewLinkInit, config: Config) -> MethodFactory:
    """Return SET with the settings of a run, and a rule for the values of new links."""
    return partial(SET, every=config.method.every, seed=config.seed, new_links=new_links)


def links_of(kind: str, pixels: Callable[[StoredRun], Tensor]) -> Quantity:
    """Return :func:`relative` for the pixels that a function of the run gives."""
    name = f"links of {kind} pixels, of the mean"
    return Quantity(name, lambda run: relative(run, pixels(run)))


#: Distribution of the first layer's links over the pixels of MNIST.
SYNAPSES = TrainingExperiment(
    "synapses",
    "pixels at which SET places the links of hidden units, with weight decay and without",
    "the demonstration of Synapses 0.0.14 on MNIST, and a report of its users",
    [
        Variant(
            f"weight decay {decay:g}, {rule}",
            "mnist-mlp",
            {"optimizer_options": {"momentum": 0.9, "weight_decay": decay}},
            method=partial(set_with, new_links),
        )
        for decay, (rule, new_links) in product(DECAYS, NEW_LINKS.items())
    ],
    [
        Quantity.at_end("test", "accuracy", True),
        links_of("constant", lambda run: constant_pixels(run.task.examples["train"].inputs)),  # type: ignore[attr-defined]
        links_of("border", lambda run: ~square(BORDER)),
        links_of("central", lambda run: square(CENTRE)),
    ],
    {
        "initial_std": STD,
        "every": EPOCH,
        "steps": 200 * EPOCH,
        "evaluate_every": 20 * EPOCH,
        "save_every": 100 * EPOCH,
    },
)
