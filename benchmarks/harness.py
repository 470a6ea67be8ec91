"""Measuring contestants against each other, and reporting what was found."""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from sparse_engine import runtime
from sparse_engine.files import write_atomically


@dataclass(frozen=True)
class Options:
    """What every benchmark takes.

    Attributes:
        json: also write the rows to this file.
        threads: CPU threads; 0 leaves the choice to PyTorch.
        seconds: time to spend on each contestant of each case, at least.
        quick: tiny sizes, to see that everything runs; the numbers mean nothing.
    """

    json: Path | None = None
    threads: int = 0
    seconds: float = 1.0
    quick: bool = False

    def prepare(self) -> None:
        """Sets the number of threads and the seed of the inputs."""
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        if self.threads:
            torch.set_num_threads(self.threads)
        torch.manual_seed(0)


def measure(
    contestants: dict[str, Callable[[], object]], *, seconds: float, at_least: int = 5
) -> dict[str, float]:
    """Median seconds of each contestant, all measured in turns: A B C A B C ...

    What disturbs the machine for a while then disturbs all of them. Each is run twice first, and
    an even share of the time goes to every contestant, but never fewer than ``at_least`` rounds.
    """
    for run in contestants.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    began = time.perf_counter()
    rounds = 0
    while rounds < at_least or time.perf_counter() - began < seconds * len(contestants):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
        rounds += 1
    return {name: statistics.median(taken) for name, taken in times.items()}


def step(
    forward: Callable[[], Tensor], leaves: Sequence[Tensor], upstream: Tensor
) -> Callable[[], None]:
    """A training step without its optimizer: gradients cleared, forward, backward."""

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().backward(upstream)

    return run


def machine() -> dict[str, object]:
    """Where and with what the numbers were measured."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"date": date.today().isoformat(), "processor": model} | runtime.info()


def report(name: str, rows: Sequence[dict[str, object]], options: Options) -> None:
    """Prints the rows as a table, and writes them as JSON where that was asked for."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[as_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    for line in [columns, *cells]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"benchmark": name, "machine": machine(), "rows": list(rows)}
        write_atomically(options.json, (json.dumps(record, indent=1) + "\n").encode())


def progress(cases: Sequence, name: str) -> tqdm:
    """A progress bar over the cases of a benchmark."""
    return tqdm(cases, desc=name, leave=False)


def as_text(value: object) -> str:
    """A number in as many digits as are worth reading."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "-" if value is None else str(value)
