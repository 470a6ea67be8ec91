"""A first example: a sparse network learns to remember, and rewires itself meanwhile."""

from __future__ import annotations

import json as json_format
from pathlib import Path

import torch
import tyro
from torch import nn

from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseRNN
from sparse_engine.topology import SET


def main(*, steps: int = 300, json: Path | None = None) -> None:
    """Learns to recall the first of 20 inputs.

    Args:
        steps: training steps.
        json: write the losses to this file.
    """
    torch.manual_seed(0)
    rnn, readout = SparseRNN(8, 256, density=0.05, gain=1.7), nn.Linear(256, 8)
    model = nn.ModuleList([rnn, readout])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rewiring = SET(model, optimizer, fraction=0.3, every=100)
    losses = []
    for step in range(steps):
        x = torch.randn(20, 32, 8)
        loss = nn.functional.mse_loss(readout(rnn(x)[1][0]), x[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step < steps - 1:  # what the last step grew would never be trained
            rewiring.step()
        losses.append(loss.item())
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} with {rnn.weight_hh_l0}")
    if json is not None:
        record = {"steps": steps, "first loss": losses[0], "last loss": losses[-1]}
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
