"""Distances between networks along training: figure 4 of Liu et al., ECML-PKDD 2020.

Ten multilayer perceptrons start from nearly the same wiring: each differs from the one before in
1 % of its links. SET trains each of them, with a seed of its own, and the distance of all pairs is
measured along training (NNSTD).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from sparse_engine import convert
from sparse_engine.analysis import distance_matrix, topology_distance
from sparse_engine.lab.experiments.training import Experiment, Plan, Row, seconds, train
from sparse_engine.lab.tasks import seeded
from sparse_engine.lab.tasks.files import data_folder
from sparse_engine.lab.train import Config, Job
from sparse_engine.lab.train.pictures import drawing
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, Use
from sparse_engine.ops.topology import Rewired, smallest
from sparse_engine.topology import SET, NormalInit, Prune, RandomGrowth, Rewiring
from sparse_engine.topology.prune.magnitude import Share

NETWORKS, APART, EVERY = 10, 0.01, 56
#: Epochs after which the wirings are compared.
EPOCHS = (0, 10, 30, 50, 100)
STD = 0.1
#: Distances in the first layer of the published wirings, by epoch: of the first two networks, of
#: the first and the last, and the mean of all pairs, as the published program computes them.
PUBLISHED = {
    0: (0.290237, 0.373775, 0.317543),
    10: (0.355091, 0.447652, 0.391073),
    100: (0.432465, 0.504018, 0.466302),
}
QUANTITIES = (
    "distance of the first two networks",
    "distance of the first and the last",
    "distance, mean of all pairs",
)


class TopologyDistance(Experiment):
    """Distances of networks that SET trains from nearly the same wiring, in their first layers."""

    name = "topology-distance"
    summary = "distances of ten perceptrons that start 1 % of their links apart, along training"
    source = "Liu et al., Topological insights into sparse neural networks, ECML-PKDD 2020"

    def rows(self, plan: Plan) -> list[Row]:
        """Compare the published wirings, if they are there, then train and compare our own.

        The published wirings are looked for in ``$SPARSE_ENGINE_DATA/nnstd``. The distances that
        the first seed gives are drawn to ``distances.png`` in the plan's folder.
        """
        rows = []
        published = data_folder("nnstd")
        if published.is_dir():
            for epoch, values in PUBLISHED.items():
                theirs = summary(distances(published, epoch, read=read_published))
                rows += [
                    Row(f"their wirings, epoch {epoch}", name, [found], published=value)
                    for name, found, value in zip(QUANTITIES, theirs, values, strict=True)
                ]
        config = settings(plan)
        epochs = [epoch for epoch in EPOCHS if epoch * EVERY < config.steps]
        folders = [plan.folder / f"seed{seed}" for seed in plan.seeds]
        runs = train(
            [
                Job(
                    folder / f"w{number}",
                    config.replaced(seed=seed),
                    method=partial(_method, folder / "wirings" / f"w{number}", number, seed),
                )
                for seed, folder in zip(plan.seeds, folders, strict=True)
                for number in range(NETWORKS)
            ],
            plan,
        )
        matrices = [[distances(each / "wirings", epoch) for epoch in epochs] for each in folders]
        for number, epoch in enumerate(epochs):
            ours = [summary(each[number]) for each in matrices]
            rows += [
                Row(f"ours, epoch {epoch}", name, [values[place] for values in ours])
                for place, name in enumerate(QUANTITIES)
            ]
        apart = [unrelated(config, seed) for seed in plan.seeds]
        each = np.array([run.scores.last["test"]["accuracy"] for run in runs])
        accuracies = each.reshape(-1, NETWORKS).mean(1).tolist()
        quantity = "test accuracy, mean of the networks"
        rows += [
            Row("unrelated random wirings", "distance", apart),
            Row("ours, at the end", quantity, accuracies, None, True, seconds(runs)),
        ]
        draw(plan.folder / "distances.png", matrices[0], epochs)
        return rows


def settings(plan: Plan) -> Config:
    """Return the settings of a network: three layers of 784 units, of which 0.6 % are linked."""
    config = Config.published(
        "mnist-mlp",
        hidden=(784, 784, 784),
        density=0.006,
        dense_output=True,
        initial_std=STD,
        batch_size=128,
        learning_rate=0.05,
        every=EVERY,
        # The last step does not rewire, so one more follows the last epoch.
        steps=EVERY * max(EPOCHS) + 1,
        evaluate_every=EVERY * 10,
        save_every=EVERY * 50,
    )
    return config.replaced(**plan.settings)


class AtRandom(Prune):
    """Removal of links at random."""

    @override
    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        scores = torch.rand(weight.nnz, generator=key.torch_generator(Use.PRUNE))
        return smallest(scores, round(fraction * weight.nnz))


def write(folder: Path, epoch: int, layer: int, weight: SparseWeight) -> None:
    """Write a wiring as ``epoch_010/weight_l0.npz`` and so on."""
    file = folder / f"epoch_{epoch:03}" / f"weight_l{layer}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.sparse.save_npz(file, convert.to_scipy(weight))


def _method(
    folder: Path, number: int, seed: int, model: nn.Module, optimizer: Optimizer
) -> Rewiring:
    """Move as many times 1 % of the links as the network's number says, and return its SET."""
    for step in range(number):
        chain = Rewiring(
            model,
            None,
            prune=AtRandom(),
            grow=RandomGrowth(),
            new_links=NormalInit(STD),
            fraction=APART,
            seed=seed * NETWORKS + step,
        )
        chain.rewire()
    own = NETWORKS * (seed + 1) + number
    rewiring = SET(model, optimizer, every=EVERY, new_links=NormalInit(STD), seed=own)

    def snapshot(name: str, weight: SparseWeight, rewired: Rewired) -> None:
        epoch = rewiring.steps_taken // EVERY
        if epoch in EPOCHS:
            write(folder, epoch, rewiring.names.index(name), weight)

    rewiring.observers.append(snapshot)
    for layer, weight in enumerate(rewiring.weights):
        write(folder, 0, layer, weight)
    return rewiring


def read_published(file: Path) -> csr_array:
    """Read a published weight ``[inputs + 1, outputs]``, whose last row is biases, turned round."""
    return csr_array(convert.read_npz(file)[:-1].T)


def distances(
    folder: Path, epoch: int, *, read: Callable[[Path], csr_array] = convert.read_npz
) -> np.ndarray:
    """Return the distances of all pairs of networks in the first layer after some epochs."""
    files = (folder / f"w{i}" / f"epoch_{epoch:03}" / "weight_l0.npz" for i in range(NETWORKS))
    return distance_matrix([[read(file)] for file in files])[0]


def summary(matrix: np.ndarray) -> tuple[float, float, float]:
    """Return the values of :data:`QUANTITIES`."""
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    return float(matrix[0, 1]), float(matrix[0, -1]), float(pairs.mean())


def unrelated(config: Config, seed: int) -> float:
    """Return the distance of two first layers with links drawn independently."""
    layers = []
    for number in (0, 1):
        model = config.task.build(config.network, generator=seeded(seed, number))
        layers.append(next(each for each in model.modules() if isinstance(each, SparseWeight)))
    return topology_distance(layers[:1], layers[1:])[0]


@drawing()
def draw(path: Path, matrices: Sequence[np.ndarray], epochs: Sequence[int]) -> None:
    """Draw the distances after each epoch."""
    from sparse_engine.lab import plot

    size = (5.2 * len(matrices), 4.6)
    with plot.panels(path, 1, len(matrices), size=size) as (row,):
        for axes, matrix, epoch in zip(row, matrices, epochs, strict=True):
            plot.distances(matrix, axes)
            axes.set_title(f"after {epoch} epochs")
