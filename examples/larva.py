"""Does the wiring of the larva's brain matter for memory?

The brain of the fruit fly's larva has 3,554 neurons and 119,010 links (Winding et al., Science
2023) in two hemispheres, which are replicates of each other. A network with the wiring of one
hemisphere hears random numbers on its sensory neurons; what it heard some steps ago is read from
the firing rates of its output neurons by ridge regression. The score is the memory capacity
(Jaeger 2001): the sum over delays of the squared correlation. The same is asked of nulls that keep
less and less of the wiring.

The data are ``edges.txt`` (``pre post weight``) and ``neurons.csv`` (id, hemisphere, type, inputs
and outputs) of the published brain.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro

from sparse_engine import analysis
from sparse_engine.connectome import (
    NULLS,
    Connectome,
    Fixed,
    SameDegreesAndTypes,
    compare,
    read_csv,
    read_neurons,
)
from sparse_engine.lab import plot
from sparse_engine.nn import SparseRateRNN

WASHOUT, DELAYS, RIDGE = 50, 20, 1e-4


@torch.no_grad()
def memory(brain: Connectome, seed: int, *, steps: int) -> float:
    """Return the memory capacity of a network whose weights are fixed and whose readout is not."""
    network = brain.network(
        SparseRateRNN,
        weights=Fixed(),
        inputs={"senses": {"inputs": True}},
        readouts={"outputs": {"outputs": True}},
        nonlinearity="tanh",
        tau=2.0,
        dt=1.0,
    )
    network.calibrate(radius=0.9)
    generator = torch.Generator().manual_seed(seed)
    heard = torch.rand(WASHOUT + 2 * steps, 1, 1, generator=generator) - 0.5
    mask = torch.randn(len(network.inputs["senses"]), generator=generator)
    rates, _ = network({"senses": heard * mask})
    x = rates["outputs"][WASHOUT:, 0].double().numpy()
    signal = heard[:, 0, 0].double().numpy()
    capacity = 0.0
    fit, test = slice(0, steps), slice(steps, None)
    gram = x[fit].T @ x[fit] + RIDGE * np.eye(x.shape[1])
    for delay in range(1, DELAYS + 1):
        wanted = signal[WASHOUT - delay : len(signal) - delay]
        readout = np.linalg.solve(gram, x[fit].T @ wanted[fit])
        capacity += float(np.corrcoef(x[test] @ readout, wanted[test])[0, 1] ** 2)
    return capacity


def main(
    folder: Path,
    *,
    seeds: int = 10,
    steps: int = 1500,
    scores: Path | None = None,
    picture: Path = Path("larva.png"),
) -> None:
    """Compare both hemispheres with nulls of their wiring.

    Args:
        folder: folder of edges.txt and neurons.csv.
        seeds: number of seeds.
        steps: time steps of the readout's training, and of its test.
        scores: folder where scores are kept, for an interrupted comparison to go on.
        picture: where the picture is written.
    """
    neurons = read_neurons(folder / "neurons.csv")
    brain = read_csv(folder / "edges.txt", neurons=neurons, unlinked=True)
    nulls = [*NULLS, SameDegreesAndTypes("merge_class")]
    with plot.panels(picture, 2, 1, size=(9, 7)) as axes:
        for (panel,), side in zip(axes, ("L", "R"), strict=True):
            half = brain.subset({"hemisphere": side}).largest_component()
            null = analysis.null_model(half.csr(), kind=analysis.DegreePreserving(), n=20)
            loops = null.observed["030T"] / null.samples["030T"].mean()
            print(f"{side}: {half}; feed-forward loops {loops:.2f} of those with its degrees")
            kept = None if scores is None else scores / side
            found = compare(
                partial(memory, steps=steps), half, nulls=nulls, seeds=range(seeds), folder=kept
            )
            print(found)
            plot.wiring(found, panel).set_title(f"hemisphere {side}: memory capacity", fontsize=9)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
