"""A cell of one's own in plain torch: docs/write_a_cell.md says how, and how it becomes a kernel.

The update gate network (UGRNN, Collins et al. 2017) has one gate, which mixes its state with a
candidate. It learns to recall the first of 10 inputs, and rewires itself meanwhile.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path

import torch
import tyro
from torch import nn

from sparse_engine.files import write_atomically
from sparse_engine.nn import Cell, Recurrent
from sparse_engine.topology import SET


class UGRNN(Cell):
    """``g = sigmoid(x_g + u_g)``, ``h_t = g h_{t-1} + (1 - g) tanh(x_c + u_c)``."""

    gates = 2

    def step(self, v, product, state):
        """Compute one time step: the state after, from the state before."""
        (h,) = state
        gate, candidate = (v + product(h)).chunk(2, -1)
        return (torch.lerp(torch.tanh(candidate), h, torch.sigmoid(gate)),)


class SparseUGRNN(Recurrent):
    """A network of such units."""

    cell_type = UGRNN


def main(*, steps: int = 300, json: Path | None = None) -> None:
    """Learns to recall the first of 10 inputs.

    Args:
        steps: training steps.
        json: write the losses to this file.
    """
    torch.manual_seed(0)
    rnn, readout = SparseUGRNN(8, 128, density=0.1), nn.Linear(128, 8)
    model = nn.ModuleList([rnn, readout])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rewiring = SET(model, optimizer, fraction=0.3, every=100)
    losses = []
    for step in range(steps):
        x = torch.randn(10, 32, 8)
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
