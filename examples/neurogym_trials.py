"""Streams of NeuroGym's trials: a sparse network decides, and forgets where a trial begins.

NeuroGym's trials differ in length. They are laid end to end in streams, which are cut into windows
of equal length, so that nothing is padded. The network's state goes on from window to window, and
``resets`` sets it back where a trial begins.
"""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import neurogym
import numpy as np
import torch
import tyro
from torch import Tensor, nn

from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseGRU
from sparse_engine.topology import SET


def trials(task: str, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Yield every step of all trials: observation, right action, and whether a trial begins."""
    env = gymnasium.make(task, dt=20, timing={"fixation": 100, "stimulus": 600, "decision": 200})
    env.reset(seed=seed)
    env = env.unwrapped
    while True:
        env.new_trial()
        for step, (observation, action) in enumerate(zip(env.ob, env.gt, strict=True)):
            yield observation, action, step == 0


def windows(task: str, steps: int, batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield windows of parallel streams that follow on each other, ``[steps, batch, ...]`` each."""
    streams = [trials(task, seed) for seed in range(batch)]
    while True:
        parts = [zip(*(next(stream) for _ in range(steps)), strict=True) for stream in streams]
        x, actions, begins = (
            torch.from_numpy(np.stack([np.stack(each) for each in of_kind], 1))
            for of_kind in zip(*parts, strict=True)
        )
        yield x.float(), actions.long(), begins


def main(
    *,
    task: str = "PerceptualDecisionMaking-v0",
    units: int = 128,
    updates: int = 300,
    batch: int = 32,
    json: Path | None = None,
) -> None:
    """Learns to decide which of two stimuli is stronger on the average.

    Args:
        task: name of a task of NeuroGym with discrete actions, the first of which is to fixate.
        units: number of units.
        updates: number of steps of the optimizer.
        batch: number of streams.
        json: write accuracies to this file.
    """
    torch.manual_seed(0)
    source = windows(task, steps=50, batch=batch)
    x, actions, _ = next(source)
    rnn = SparseGRU(x.shape[-1], units, density=0.1)
    readout = nn.Linear(units, int(actions.max()) + 1)
    model = nn.ModuleList([rnn, readout])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rewiring = SET(model, optimizer, fraction=0.3, every=50)
    state, accuracies = None, []
    for update in range(updates):
        x, actions, begins = next(source)
        y, state = rnn(x, state, resets=begins)
        state = state.detach()  # the state goes on, gradients end with the window
        scores = readout(y)
        deciding = actions > 0
        loss = nn.functional.cross_entropy(scores[deciding], actions[deciding])
        loss = loss + nn.functional.cross_entropy(scores[~deciding], actions[~deciding])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update < updates - 1:  # what the last step grew would never be trained
            rewiring.step()
        right = scores.argmax(-1)[deciding] == actions[deciding]
        accuracies.append(right.double().mean().item())
    first, last = (float(np.mean(part)) for part in (accuracies[:10], accuracies[-10:]))
    print(f"right decisions {first:.2f} -> {last:.2f} with {rnn.weight_hh_l0}")
    if json is not None:
        record = {"task": task, "updates": updates, "first": first, "last": last}
        record["neurogym"] = neurogym.__version__
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
