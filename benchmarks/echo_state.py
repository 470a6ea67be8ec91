"""Echo state network of 10,000 units against reservoirpy's, in reservoirpy's published case.

The case of reservoirpy's page on its backends: 50,000 uniform inputs, five links to and from a
unit, a readout with a penalty of 10 that reproduces the input; the network is fitted and run once.

    python -m benchmarks.echo_state [--units 10000] [--steps 50000] [--json FILE]
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks import _report
from sparse_engine.estimators import EchoState


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    units: int = 10_000
    steps: int = 50_000
    json: Path | None = None
    peer: bool = True
    """Measure reservoirpy, too."""


def ours(x: np.ndarray, units: int) -> np.ndarray:
    density = 5 / units
    model = EchoState(
        units, density=density, input_density=density, bias_scale=1.0, spectral_radius=1.0,
        alpha=10.0, random_state=0,
    )  # fmt: skip
    return model.fit(x, x).predict(x)


def reservoirpy(x: np.ndarray, units: int) -> np.ndarray:
    import reservoirpy as rpy

    density = 5 / units
    model = rpy.ESN(units=units, rc_connectivity=density, input_connectivity=density, ridge=10)
    return model.fit(x, x).run(x)


def main(options: Options) -> None:
    x = np.random.default_rng(0).uniform(size=(options.steps, 1))
    row: dict[str, object] = {"units": options.units, "steps": options.steps}
    contestants = {"sparse_engine": ours} | ({"reservoirpy": reservoirpy} if options.peer else {})
    seconds = {}
    for name, run in contestants.items():
        began, work = time.perf_counter(), time.process_time()
        y = run(x, options.units)
        seconds[name] = row[f"{name} s"] = round(time.perf_counter() - began, 2)
        row[f"{name} processor s"] = round(time.process_time() - work, 2)
        row[f"{name} error"] = float(np.mean((y - x) ** 2))
    if options.peer:
        row["x reservoirpy"] = round(seconds["reservoirpy"] / seconds["sparse_engine"], 2)
    _report.report("echo_state", [row], options)


if __name__ == "__main__":
    main(tyro.cli(Options))
