"""Small word language model: sparse against dense, and averaged against plain SGD.

The task is penn-treebank with --small: the first nine tenths of the validation text are for
training and the rest for validation; the test text is read once, by the best model of each run. All
runs have the same settings but for what is dense. SNT-ASGD and plain SGD are the same run: until
averaging begins they do the same, and after it the averages are kept beside the parameters, so the
parameters themselves are those of plain SGD (tests/lab/train/test_literal_loop.py).

The results of each run are written as soon as it ends; a repeated call goes on with those missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro

from benchmarks._harness import Options
from benchmarks._report import quartiles, report
from sparse_engine.lab.experiments.selfish import DENSE, SMALL, SPARSE
from sparse_engine.lab.tasks import PennTreebank, Step
from sparse_engine.lab.train import Config, Run

#: The contestants: 67 % sparse, the same from the published start, and torch's own dense layers.
MODELS = {"sparse": SPARSE, "dense": DENSE, "sparse, published start": {}}
#: The models whose steps are timed: also ours with every link, and with dense words.
TIMED = {
    "sparse": SPARSE,
    "dense": DENSE,
    "sparse, dense words": {"dense": "words"},
    "all links": {"density": 1.0, "dense": "words"},
}

#: What makes runs short, to see that everything runs.
QUICK = {
    "steps": 6,
    "every": 4,
    "evaluate_every": 1,
    "batch_size": 2,
    "bptt": 4,
    "evaluation_streams": 2,
    "embedding": 8,
    "hidden": 8,
}


@dataclass(frozen=True)
class Validated(PennTreebank):
    """The task without its test text, which is ten times as long as the validation text."""

    splits = ("validation",)


class Compared(Run):
    """Run that also evaluates the parameters that are not averaged, and keeps both best models."""

    def _evaluate(self, loss):
        if not self.step > self.config.evaluate_every:
            self.best, self.curves = {}, {"plain": [], "averaged": []}
        averaging = self.optimizer.averaging
        evaluation = super()._evaluate(loss)
        with self._averaged() if averaging else nullcontext():
            self._keep("averaged", evaluation.entry["metric"])
        if averaging:
            self.model.eval()
            self._keep("plain", self.task.evaluate(self.model)["perplexity"])
        else:
            self._keep("plain", evaluation.entry["metric"])
        return evaluation

    def _keep(self, name, perplexity):
        if perplexity < min(self.curves[name], default=float("inf")):
            state = self.model.state_dict().items()
            self.best[name] = {key: value.clone() for key, value in state}
        self.curves[name].append(perplexity)


def measure(model: str, config: Config, folder: Path) -> dict[str, object]:
    """Trains a model; returns its perplexities, and the seconds of the processor."""
    run = Compared(folder, config)
    began = time.process_time()
    if not run.train(progress=False).finished:
        raise KeyboardInterrupt
    row: dict[str, object] = {
        "model": model,
        "seed": config.seed,
        "epochs": config.steps / config.task.batches,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "processor seconds": time.process_time() - began,
    }
    for name, curve in run.curves.items():
        run.model.load_state_dict(run.best[name])
        run.model.eval()
        row[f"validation, {name}"] = min(curve)
        tested = PennTreebank.evaluate(run.task, run.model, "test")
        row[f"test, {name}"] = tested["perplexity"]
    return row | {"curves": run.curves}


def training_step(config: Config) -> Callable[[], object]:
    """Returns a function that takes the next training step of a new model."""
    model = config.task.build(config.network, generator=torch.Generator().manual_seed(1))
    optimizer = config.optimization.make_optimizer(model.parameters())
    memory: dict[str, torch.Tensor] = {}

    def step():
        optimizer.zero_grad()
        config.task.loss(model, Step(0, memory=memory)).backward()
        config.optimization.clip(model)
        optimizer.step()

    return step


def main(
    options: tyro.conf.OmitArgPrefixes[Options],
    seeds: int = 5,
    data: Path | None = None,
) -> None:
    """Measures the time of a training step, then trains every model with every seed.

    Args:
        options: options of all benchmarks.
        seeds: runs of each model; 0 to measure times only.
        data: the folder with valid.txt and test.txt.
    """
    options.prepare()
    base = SMALL | (QUICK if options.quick else {})
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    rows, times = known.get("rows", []), known.get("steps")

    def config(**settings: Any) -> Config:
        return Config.of(Validated(data=data), **base | settings)

    if times is None:
        cases = {name: training_step(config(**own)) for name, own in TIMED.items()}
        times = quartiles(options.measure(cases))["times"]
    report("language_model", rows, options, settings=base, steps=times)
    for seed in range(1, seeds + 1):
        for model, own in MODELS.items():
            if any((row["model"], row["seed"]) == (model, seed) for row in rows):
                continue
            with TemporaryDirectory() as folder:
                rows.append(measure(model, config(**own, seed=seed), Path(folder) / "run"))
            report("language_model", rows, options, settings=base, steps=times)


if __name__ == "__main__":
    tyro.cli(main)
