"""The structural balance of a network while it learns and rewires itself.

A network learns to recall the first of 10 inputs, and SET rewires it. At every rewiring a tracker
measures the balance of the links that stay; shuffled signs show what it would be by chance.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path

import torch
import tyro
from torch import nn

from sparse_engine import convert
from sparse_engine.analysis import Balance, null_model
from sparse_engine.files import write_atomically
from sparse_engine.lab import plot
from sparse_engine.nn import SparseRNN
from sparse_engine.topology import SET, Tracker


def main(
    *, steps: int = 1500, every: int = 50, picture: Path | None = None, json: Path | None = None
) -> None:
    """Trains the network and tracks its balance.

    Args:
        steps: training steps.
        every: training steps from one rewiring to the next.
        picture: draw the balance to this PNG file.
        json: write what was found to this file.
    """
    torch.manual_seed(0)
    rnn, readout = SparseRNN(8, 128, density=0.1), nn.Linear(128, 8)
    model = nn.ModuleDict({"rnn": rnn, "readout": readout})
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rewiring, records = SET(model, optimizer, fraction=0.3, every=every), []
    Tracker(rewiring, records.append, measures=[Balance()])
    for _ in range(steps):
        x = torch.randn(10, 32, 8)
        loss = nn.functional.mse_loss(readout(rnn(x)[1][0]), x[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewiring.step()
    trained = convert.to_scipy(rnn.weight_hh_l0)
    trained.eliminate_zeros()
    chance = null_model(trained, n=200)
    first, last = records[0]["pooled"], records[-1]["pooled"]
    print(f"balance {first:.3f} -> {last:.3f}; by chance {chance.samples['pooled'].mean():.3f}")
    if picture is not None:
        with plot.picture(picture) as axes:
            plot.balance(records, axes, null=chance)
    if json is not None:
        record = {"loss": loss.item(), "balance": [record["pooled"] for record in records]}
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
