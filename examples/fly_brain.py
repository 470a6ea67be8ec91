"""A brain of the size of a fly's: simulated by its spikes, then every synapse trained.

The wiring is drawn with the figures of FlyWire (Dorkenwald et al. 2024): 139,255 neurons, 14.69
million links of 1, 2, 3, 4, 5 and more synapses, six neurons of ten excitatory, in- and out-degrees
that go together, links that answer each other. The units are those of Shiu et al. (2024). First
some neurons get Poisson spikes and the spikes of all are counted; then the network learns to tell
from the spikes of a ring of neurons which way a bump on it has turned.
"""

from __future__ import annotations

import json as json_format
import time
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn

from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseLIF, SparseWeight, Triangle

#: Millions of links of 1 to 5 synapses, and of more.
LINKS = torch.tensor([7.31, 2.61, 1.34, 0.81, 0.54, 2.08])
MV = 0.275  # of a synapse


def wiring(neurons: int, links: int, generator: torch.Generator) -> SparseWeight:
    """Draw links by propensities of degrees, a twentieth of them answered, with signed counts."""
    shared = torch.randn(neurons, generator=generator)
    out, into = (
        (0.88 * shared + 0.47 * torch.randn(neurons, generator=generator)).exp() for _ in range(2)
    )
    draws = links + links // 8  # some are drawn twice
    sources, targets = (
        torch.multinomial(each, draws, replacement=True, generator=generator)
        for each in (out, into)
    )
    answered = draws // 20
    sources[:answered], targets[:answered] = (
        targets[answered : 2 * answered].clone(),
        sources[answered : 2 * answered].clone(),
    )
    cells = (targets * neurons + sources)[sources != targets].unique()
    cells = cells[torch.randperm(len(cells), generator=generator)[:links]].sort().values
    kind = torch.multinomial(LINKS, len(cells), replacement=True, generator=generator)
    tail = 6 * torch.rand(len(cells), generator=generator).clamp(min=1e-3) ** -0.5
    counts = torch.where(kind < 5, kind + 1.0, tail.floor())
    signs = torch.where(torch.rand(neurons, generator=generator) < 0.6, 1.0, -1.0)
    crow = torch.zeros(neurons + 1, dtype=torch.int64)
    crow[1:] = torch.bincount(cells // neurons, minlength=neurons).cumsum(0)
    columns = (cells % neurons).int()
    return SparseWeight.from_csr(crow, columns, counts * signs[columns], (neurons, neurons))


def brain(inputs: int, weight: SparseWeight, scale: float, **options) -> SparseLIF:
    """Return units of Shiu et al. with a wiring whose counts are multiplied by ``scale``."""
    given = {"density": 1e-9, "input_density": 1e-9, "bias": False, "resistance": 1.0}
    network = SparseLIF(inputs, weight.shape[0], threshold=7.0, **given, **options)
    values = scale * weight.values.detach()
    network.weight_hh_l0 = SparseWeight(values, weight.pattern)
    return network


def simulated(weight: SparseWeight, seconds: float, driven: int, hertz: float) -> dict:
    """Simulate in steps of .1 ms, with Poisson spikes of some neurons."""
    steps, neurons = round(seconds * 10_000), weight.shape[0]
    network = brain(1, weight, MV, refractory=21, delay=19, keeps_current=False, dt=0.1)
    driven = min(driven, neurons // 10)
    step, unit = (torch.rand(steps, driven) < hertz * 1e-4).nonzero().T
    refractory = torch.full((neurons,), 21)
    refractory[:driven] = 0  # as Poisson neurons have none
    start = time.perf_counter()
    when, who = network.simulate(steps, (step, unit, 250 * MV), refractory=refractory)
    found = {"seconds": time.perf_counter() - start, "spikes": len(when)}
    return found | {"active neurons": len(who.unique())}


def headings(batch: int, steps: int, cells: int) -> tuple[Tensor, Tensor]:
    """Return spikes of a ring of cells, and which way their bump turns."""
    way = torch.randint(2, (batch,))
    start = torch.rand(batch) * cells
    place = start + (2.0 * way - 1) * torch.arange(steps)[:, None] * cells / steps / 2
    apart = (torch.arange(cells) - place[..., None] + cells / 2) % cells - cells / 2
    return (torch.rand(steps, batch, cells) < 0.5 * torch.exp(-(apart**2) / 4)).float(), way


def trained(weight: SparseWeight, updates: int, steps: int, batch: int, rate: float) -> dict:
    """Train all links by backpropagation through time, in steps of 1 ms."""
    cells, neurons = 16, weight.shape[0]
    network = brain(cells, weight, 2 * MV, refractory=2, surrogate=Triangle(0.3))
    network.weight_ih_l0 = SparseWeight.erdos_renyi(neurons, cells, density=0.2, gain=60.0)
    readout = nn.Linear(neurons, 2)
    with torch.no_grad():
        readout.weight.zero_()
    of_readout = {"params": readout.parameters(), "lr": 0.3 / neurons}
    optimizer = torch.optim.Adam([{"params": network.parameters()}, of_readout], lr=rate)
    losses, rates, start = [], [], time.perf_counter()
    for _ in range(updates):
        x, way = headings(batch, steps, cells)
        spikes, _ = network(x)
        loss = nn.functional.cross_entropy(readout(spikes.sum(0)), way)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        rates.append(spikes.mean().item())
    each = (time.perf_counter() - start) / max(1, updates)
    return {"seconds per step": each, "losses": losses, "spikes per neuron and step": rates}


def main(
    *,
    neurons: int = 139_255,
    links: int = 14_690_000,
    seconds: float = 1.0,
    driven: int = 1000,
    hertz: float = 100.0,
    updates: int = 20,
    steps: int = 50,
    batch: int = 8,
    rate: float = 0.03,
    threads: int | None = None,
    json: Path | None = None,
) -> None:
    """Simulate a generated brain, and train all of its links.

    Args:
        neurons: number of neurons.
        links: number of pairs of neurons that are connected.
        seconds: time that is simulated.
        driven: number of neurons with Poisson spikes.
        hertz: their rate.
        updates: training steps.
        steps: time steps of 1 ms in each of them.
        batch: sequences at a time.
        rate: learning rate, in mV.
        threads: number of threads; by default all.
        json: write the measurements to this file.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    weight = wiring(neurons, links, torch.Generator().manual_seed(0))
    print(f"{neurons:,} neurons, {weight.nnz:,} links")
    record = {"links": weight.nnz, "simulated": simulated(weight, seconds, driven, hertz)}
    print(
        "simulated:", ", ".join(f"{name} {each:,.4g}" for name, each in record["simulated"].items())
    )
    record["trained"] = trained(weight, updates, steps, batch, rate)
    losses = record["trained"]["losses"]
    print(
        f"trained: {record['trained']['seconds per step']:.3g} s for each of {updates} steps, loss "
        f"{losses[0]:.3f} at first, {losses[-1]:.3f} at last"
    )
    record |= {"first loss": losses[0], "last loss": losses[-1]}
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
