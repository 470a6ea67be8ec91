"""A stream without end: a network predicts it while it runs, and rewires itself meanwhile.

Eight microphones hear a tone each, whose pitch jumps now and then, so that learning never comes to
an end. SnAp-1 gives the gradient of each step at that step, in memory that stays the same. SET
moves links, and the influence of a link moves along. Ctrl-C ends the stream if ``--steps`` is 0.
"""

from __future__ import annotations

import json as json_format
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
import tyro
from torch import Tensor, nn

from sparse_engine import online
from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseGRU
from sparse_engine.topology import SET

LANES, WINDOW = 8, 250


def stream() -> Iterator[Tensor]:
    """Yield ``[lanes, 1]`` for ever: sines, one in 2,000 steps of which takes another pitch."""
    phase, pitch = 2 * math.pi * torch.rand(LANES, 1), 0.1 + 0.4 * torch.rand(LANES, 1)
    while True:
        yield phase.sin()
        phase = (phase + pitch) % (2 * math.pi)
        jumps = torch.rand(LANES, 1) < 1 / 2000
        pitch = torch.where(jumps, 0.1 + 0.4 * torch.rand(LANES, 1), pitch)


def main(*, steps: int = 5000, every: int = 100, json: Path | None = None) -> None:
    """Predicts each next value of the stream.

    Args:
        steps: values to learn from; 0 for no end.
        every: steps from one rewiring to the next.
        json: write the errors to this file.
    """
    torch.manual_seed(0)
    network, readout = SparseGRU(1, 64, density=0.1), nn.Linear(64, 1)
    model = nn.ModuleDict({"network": network, "readout": readout})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rewiring, learner = SET(model, optimizer, fraction=0.2, every=every), online.SnAp(network)
    learner.follow(rewiring)
    values, errors, recent = stream(), [], []
    x = next(values)
    try:
        for target in islice(values, steps or None):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(readout(learner.step(x)), target)
            learner.backward(loss)
            optimizer.step()
            rewiring.step()
            x = target
            recent.append(loss.item())
            if len(recent) == WINDOW:
                errors.append(fmean(recent))
                recent.clear()
                print(f"error of the last {WINDOW} steps {errors[-1]:.4f}; {learner}")
    except KeyboardInterrupt:
        print("interrupted")
    print(f"{network.weight_hh_l0.topology_version} rewirings of {network.weight_hh_l0}")
    if json is not None:
        record = {
            "errors": errors,
            "first loss": errors[0] if errors else None,
            "last loss": errors[-1] if errors else None,
            "influence bytes": learner.memory,
        }
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
