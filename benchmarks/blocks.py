"""What it costs to keep links in groups: blocks, and gates that share their links.

A group of links lives and dies as one. Products over groups need fewer indices and loads than
products over free links; this benchmark asks what the restriction costs a model, before any kernel
is written for it. All structures have the same number of links, drawn as groups at random, and the
same method: SET over groups, which removes the groups of least mean magnitude and grows others at
random positions. Runs of all structures with one seed have the same data and settings.

The results of each run are written as soon as it ends; a repeated call goes on with those missing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks._harness import Options
from benchmarks._report import report
from sparse_engine.lab.experiments.selfish import SMALL, SPARSE
from sparse_engine.lab.train import Config, Run
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Pattern, RandomKey
from sparse_engine.ops.topology import sample_absent, smallest
from sparse_engine.topology import Rewiring
from sparse_engine.topology.grow import Grow
from sparse_engine.topology.links import links_at
from sparse_engine.topology.prune import Prune

#: All structures have a number of links that all sizes of groups divide.
MULTIPLE = 64


@dataclass(frozen=True)
class Groups:
    """Groups of positions of a weight, each ``rows x cols`` positions of one gate or of all."""

    rows: int = 1
    cols: int = 1
    gates: bool = False

    def grid(self, weight: SparseWeight) -> tuple[int, int]:
        """Returns how many groups there are from top to bottom and from left to right."""
        height, width = weight.shape[0] // self.copies(weight), weight.shape[1]
        if height % self.rows or width % self.cols:
            raise ValueError(f"expected sizes that {self} divides, found {height} x {width}")
        return height // self.rows, width // self.cols

    def copies(self, weight: SparseWeight) -> int:
        """Returns how many gates share their links."""
        return len(weight.blocks) if self.gates else 1

    def size(self, weight: SparseWeight) -> int:
        """Returns the number of links of a group."""
        return self.rows * self.cols * self.copies(weight)

    def of(self, weight: SparseWeight, links: Links) -> Tensor:
        """Returns the group of each link."""
        height, width = self.grid(weight)
        row = links.rows() % (height * self.rows)
        return row // self.rows * width + links.col.long() // self.cols

    def members(self, weight: SparseWeight, groups: Tensor) -> Tensor:
        """Returns the positions of all members of the groups, increasing."""
        height, width = self.grid(weight)
        gates = torch.arange(self.copies(weight)) * height * self.rows
        first = groups[:, None, None, None]
        rows = first // width * self.rows + gates[:, None, None] + torch.arange(self.rows)[:, None]
        cols = first % width * self.cols + torch.arange(self.cols)
        positions = rows * weight.shape[1] + cols
        return positions.flatten().sort().values


@dataclass(frozen=True)
class LeastGroups(Prune):
    """Removal of the groups of least mean magnitude."""

    groups: Groups

    def drop(self, weight: SparseWeight, fraction: Any, key: RandomKey) -> Tensor:
        """Marks all links of the groups to remove."""
        of_links = self.groups.of(weight, weight.pattern.links)
        there, place = of_links.unique(return_inverse=True)
        sums = torch.zeros(there.numel()).index_add_(0, place, weight.values.detach().abs())
        return smallest(sums, int(fraction * there.numel()))[place]


@dataclass(frozen=True)
class RandomGroups(Grow):
    """Growth of whole groups at random."""

    groups: Groups

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Chooses the positions of groups that have no link."""
        taken = links_at(self.groups.of(weight, kept).unique(), *self.groups.grid(weight))
        drawn = sample_absent(taken, count // self.groups.size(weight), key)
        return self.groups.members(weight, drawn)


#: The structures, by name.
STRUCTURES = {
    "free": Groups(),
    "shared by gates": Groups(gates=True),
    "4 x 1": Groups(4, 1),
    "4 x 4": Groups(4, 4),
    "1 x 4": Groups(1, 4),
}

#: Settings of each task's run. The language model has every matrix sparse, embedding included,
#: where links stay free.
TASKS: dict[str, dict[str, Any]] = {
    "sms": {"cell": "lstm"},
    "digits": {"cell": "lstm"},
    "penn-treebank": SMALL | SPARSE,
}

#: What makes runs short, to see that everything runs.
QUICK = {
    "sms": {"steps": 4, "every": 2, "evaluate_every": 2, "hidden": 32, "density": 0.5},
    "digits": {"steps": 4, "every": 2, "evaluate_every": 2, "hidden": 32, "density": 0.5},
}


def grouped(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    groups: Groups,
    fraction: float,
    every: int,
    seed: int,
) -> Rewiring:
    """Returns SET over groups, for recurrent weights whose links it draws again as groups.

    The values are those that the weight was made with, in a new order.
    """
    for module in model.modules():
        if not isinstance(module, SparseWeight):
            continue
        if len(module.blocks) < 2:
            module.frozen_pattern = True
            continue
        links = module.nnz // MULTIPLE * MULTIPLE
        nothing = links_at(torch.empty(0, dtype=torch.int64), *groups.grid(module))
        drawn = sample_absent(nothing, links // groups.size(module), RandomKey(seed))
        positions = groups.members(module, drawn)
        order = torch.randperm(module.nnz, generator=torch.Generator().manual_seed(seed))
        values = module.values.detach()[order[:links]]
        module.set_pattern(Pattern.of(links_at(positions, *module.shape)), values)
    rules = {"prune": LeastGroups(groups), "grow": RandomGroups(groups)}
    return Rewiring(model, optimizer, **rules, fraction=fraction, every=every, seed=seed)


def trained(config: Config, groups: Groups, folder: Path) -> Mapping[str, Any]:
    """Trains a model; returns the entry of its log with the best validation metric."""
    own = {"fraction": config.method.fraction, "every": config.method.every, "seed": config.seed}
    run = Run(folder, config, method=partial(grouped, groups=groups, **own))
    result = run.train(progress=False, pictures=False)
    if not result.finished:
        raise KeyboardInterrupt
    return result.best


def main(
    options: tyro.conf.OmitArgPrefixes[Options], seeds: int = 5, tasks: tuple[str, ...] = (*TASKS,)
) -> None:
    """Trains every structure with every seed, and prints means and differences from free links.

    Args:
        options: options of all benchmarks.
        seeds: runs of each structure.
        tasks: which tasks, of sms, digits and penn-treebank.
    """
    options.prepare()
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    rows = known.get("rows", [])
    for task in tasks:
        base = TASKS[task] | (QUICK.get(task, {}) if options.quick else {})
        for seed in range(1, seeds + 1):
            config = Config.published(task, **base, seed=seed)
            for structure, groups in STRUCTURES.items():
                this = {"task": task, "structure": structure, "seed": seed}
                if any(this.items() <= row.items() for row in rows):
                    continue
                with TemporaryDirectory() as folder:
                    best = trained(config, groups, Path(folder) / "run")
                rows.append(this | {"metric": best["metric"], "test": best["test"]})
                report("blocks", rows, options)
    print(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table of accuracies, as mean and standard deviation over seeds."""
    lines = ["| task | structure | validation | from free links | test |", "|---|---|---|---|---|"]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        free = statistics.fmean(row["metric"] for row in own if row["structure"] == "free")
        for name in dict.fromkeys(row["structure"] for row in own):
            found = [row for row in own if row["structure"] == name]
            metrics = [row["metric"] for row in found]
            test = [next(iter(row["test"].values())) for row in found]
            if "accuracy" in found[0]["test"]:
                test = [row["test"]["accuracy"] for row in found]
            change = f"{statistics.fmean(metrics) / free - 1:+.1%}"
            lines.append(f"| {task} | {name} | {_spread(metrics)} | {change} | {_spread(test)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.4g} ± {spread:.2g}"


if __name__ == "__main__":
    tyro.cli(main)
