"""A connectome whose synapses are given: training finds one gain for each pair of cell types.

A random wiring of excitatory and inhibitory cell types stands for the connectome, its numbers of
synapses for the data. A copy with gains of its own plays the animal: from its responses to random
input the gains are to be recovered. They are kept positive, so that every synapse keeps its sign.
"""

from __future__ import annotations

import copy
import json as json_format
from pathlib import Path

import torch
import tyro
from torch import nn

from sparse_engine.files import write_atomically
from sparse_engine.nn import FixedSigns, GroupedWeight, SparseRNN

TYPES = 6


def main(*, neurons: int = 300, steps: int = 200, json: Path | None = None) -> None:
    """Recovers the gains of a network from its activity.

    Args:
        neurons: units of the network.
        steps: training steps.
        json: write what was found to this file.
    """
    torch.manual_seed(0)
    animal = SparseRNN(8, neurons, density=0.05)
    wiring, cell_type = animal.weight_hh_l0, torch.arange(neurons) % TYPES
    target, source = cell_type[wiring.rows()], cell_type[wiring.col_indices]
    sign = torch.where(source < TYPES // 2, 1, -1)
    synapses = 0.02 * sign * torch.randint(1, 10, (wiring.nnz,))
    gain = 0.2 + 1.8 * torch.rand(TYPES**2)
    animal.weight_hh_l0 = GroupedWeight(
        synapses, wiring.pattern, TYPES * target + source, gain=gain
    )
    model = copy.deepcopy(animal)
    weight = model.weight_hh_l0
    nn.init.ones_(weight.gain)
    optimizer = torch.optim.Adam([weight.gain], lr=0.03)
    FixedSigns(weight).attach(optimizer)
    losses = []
    for _ in range(steps):
        x = torch.randn(20, 16, 8)
        with torch.no_grad():
            responses, _ = animal(x)
        loss = nn.functional.mse_loss(model(x)[0], responses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    error = (weight.gain - gain).abs().mean().item()
    print(
        f"loss {losses[0]:.2e} -> {losses[-1]:.2e} with {weight}; mean error of a gain {error:.3f}"
    )
    if json is not None:
        record = {"first loss": losses[0], "last loss": losses[-1], "error of a gain": error}
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
