"""Motion detection in the fly's optic lobe: the preferred directions of T4 and T5.

Fifty networks with the wiring of the fly's optic lobe were trained to see motion (Lappalainen et
al., Nature 2024): 45,669 neurons of 65 types, each type with a bias and a time constant, each pair
of types with a gain. This example reads the wiring and the trained numbers, shows every network
edges that move in twelve directions, and draws in which direction each of the types T4a to T5d
responds most. In the animal, T4 responds to bright edges and T5 to dark ones; a to d prefer motion
from front to back, from back to front, up and down (Maisak et al., Nature 2013).

The data are those of flyvis 1.2.0: the wiring ``fib25-fib19_v2.2.json``, and a folder with
``manifest.json`` and raw arrays of the trained numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm.auto import tqdm

from sparse_engine.connectome import Connectome, ConnectomeNetwork, TypePairs, read_flyvis
from sparse_engine.lab import plot
from sparse_engine.nn import SparseRateRNN

CELLS = ("T4a", "T4b", "T4c", "T4d", "T5a", "T5b", "T5c", "T5d")
#: Preferred directions in degrees, counterclockwise, on the lattice as the paper draws it.
KNOWN = dict(zip(CELLS, (180.0, 0.0, 90.0, 270.0) * 2, strict=True))
#: Inputs before an edge appears, for the network to settle, and the grey of the screen.
SETTLING, GREY = 50, 0.5
#: Columns of the lattice within which responses are taken.
CENTRE = 3


def read_ensemble(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of all networks by name, and the names of the types as "type"."""
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays = {
        each["name"]: np.fromfile(folder / each["file"], np.dtype(each["dtype"]).newbyteorder("<"))
        .reshape(each["shape"])
        for each in manifest["arrays"]
    }  # fmt: skip
    return {**arrays, "type": np.array(manifest["strings"]["type"])}


def make_network(lobe: Connectome, dt: float) -> tuple[ConnectomeNetwork, TypePairs]:
    """Return a network with a gain for each pair of types; its numbers are set by :func:`load`."""
    weights = TypePairs()
    network = lobe.network(
        SparseRateRNN,
        weights=weights,
        inputs={"eye": lambda table: table["input"]},
        readouts={
            name: lambda table, name=name: (table["type"] == name)
            & (np.maximum(table["u"].abs(), table["v"].abs()) <= CENTRE)
            & ((table["u"] + table["v"]).abs() <= CENTRE)
            for name in CELLS
        },
        by="type",
        tau=1.0,
        bias=0.0,
        dt=dt,
    )
    return network, weights


@torch.no_grad()
def load(
    network: ConnectomeNetwork, weights: TypePairs, ensemble: dict[str, np.ndarray], model: int
) -> None:
    """Give a network the trained numbers of one of the fifty; time constants are at least dt."""
    names, place = ensemble["type"], {name: at for at, name in enumerate(sorted(ensemble["type"]))}
    order = np.argsort([place[name] for name in names])
    rnn = network.rnn
    tau = ensemble["time_const_s"][model][order].clip(min=rnn.dt)
    rnn.tau_l0.copy_(torch.from_numpy(tau))
    rnn.bias_l0.copy_(torch.from_numpy(ensemble["bias"][model][order]))
    ends = names[ensemble["pair_source"]], names[ensemble["pair_target"]]
    strength = dict(zip(zip(*ends, strict=True), ensemble["strength"][model], strict=True))
    pairs = weights.pairs(network.connectome)
    gains = [strength[pair] for pair in pairs.itertuples(index=False, name=None)]
    network.weight.gain.copy_(torch.tensor(gains))


def moving_edges(lobe: Connectome, dt: float, speed: float, directions: Tensor) -> Tensor:
    """Return bright edges, then dark ones, in all directions: ``[steps, 2 * directions, eye]``.

    ``speed`` is in columns for each second; the edge passes the whole lattice.
    """
    eye = lobe.neurons[lobe.neurons["input"]]
    u, v = (torch.tensor(eye[name].to_numpy(float)) for name in ("u", "v"))
    x, y = 3**0.5 / 2 * v, -(u + v / 2)
    along = x * directions.cos()[:, None] + y * directions.sin()[:, None]
    reach = float(along.abs().max()) + 1
    front = torch.arange(-reach, reach, speed * dt)
    passed = (along <= front[:, None, None]).double()
    screens = torch.cat([GREY + GREY * passed, GREY - GREY * passed], 1)
    still = torch.full((SETTLING, *screens.shape[1:]), GREY, dtype=screens.dtype)
    return torch.cat([still, screens]).float()


@torch.no_grad()
def preferred(network: ConnectomeNetwork, x: Tensor, directions: Tensor) -> dict[str, float]:
    """Return the preferred direction of each type: that of the sum of its peak responses.

    A response is the rise of the potential over that at rest; nan for a type without any.
    """
    potentials: dict[str, list[Tensor]] = {name: [] for name in CELLS}
    state = None
    for part in x.split(20):  # so that the potentials of all neurons need not be kept
        v, state = network.rnn(part, state)
        for name in CELLS:
            potentials[name].append(v[..., torch.from_numpy(network.readouts[name])])
    count, found = len(directions), {}
    for name in CELLS:
        v = torch.cat(potentials[name])
        peaks = (v[SETTLING:] - v[SETTLING - 1]).amax(0).mean(-1).clamp(min=0)
        peaks = peaks[:count] if name.startswith("T4") else peaks[count:]
        sums = (peaks * directions.sin()).sum(), (peaks * directions.cos()).sum()
        found[name] = float(torch.rad2deg(torch.atan2(*sums))) % 360 if peaks.any() else np.nan
    return found


def apart(angle: np.ndarray, other: float) -> np.ndarray:
    """Return the degrees between angles."""
    return np.abs((angle - other + 180) % 360 - 180)


def main(
    wiring: Path,
    ensemble: Path,
    *,
    models: int = 50,
    speed: float = 19.0,
    dt: float = 0.01,
    extent: int = 15,
    picture: Path = Path("fly_vision.png"),
) -> None:
    """Find and draw the preferred directions.

    Args:
        wiring: flyvis's JSON file.
        ensemble: folder of the trained numbers.
        models: number of networks.
        speed: of the edges, in columns a second.
        dt: step of Euler's method in seconds.
        extent: rings of columns of the lattice.
        picture: where the picture is written.
    """
    lobe = read_flyvis(wiring, extent=extent)
    numbers = read_ensemble(ensemble)
    network, weights = make_network(lobe, dt)
    directions = torch.deg2rad(torch.arange(0, 360, 30.0))
    x = moving_edges(lobe, dt, speed, directions)
    found: dict[str, list[float]] = {name: [] for name in CELLS}
    for model in tqdm(range(models), unit="network"):
        load(network, weights, numbers, model)
        for name, angle in preferred(network, x, directions).items():
            found[name].append(angle)
    with plot.panels(picture, 2, 4, size=(9, 5)) as axes:
        for panel, (name, angles) in zip(axes.flat, found.items(), strict=True):
            radians = np.deg2rad(angles)
            for angle in radians:
                panel.plot([0, np.cos(angle)], [0, np.sin(angle)], color="C0", lw=0.6, alpha=0.5)
            known = np.deg2rad(KNOWN[name])
            panel.plot([0, 1.1 * np.cos(known)], [0, 1.1 * np.sin(known)], color="C3", lw=2)
            panel.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal", title=name)
            panel.set_axis_off()
            off = apart(np.array(angles), KNOWN[name])
            print(
                f"{name}: median {np.nanmedian(off):5.1f} degrees from {KNOWN[name]:.0f}, "
                f"{(off <= 45).sum()} of {len(off)} within 45"
            )


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
