"""Lesions of Zhang et al., with controls: feed-forward loops are removed from trained networks.

Networks with 15 planted feed-forward loops are trained, and then lose the unbalanced loops one
after the other. Zhang et al. have no controls; here they are the balanced loops, all loops, and
random links.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.analysis import find_planted_loops, lesion
from sparse_engine.analysis.lesions import Lesions
from sparse_engine.lab.experiments.training import Experiment, Plan, Row, Variant, train_variants
from sparse_engine.lab.experiments.zhang import SOURCE
from sparse_engine.lab.tasks.files import data_folder
from sparse_engine.lab.train import StoredRun
from sparse_engine.lab.train.pictures import drawing
from sparse_engine.models import SequenceModel
from sparse_engine.nn import SparseRNN, SparseWeight
from sparse_engine.nn.recurrent import recurrent_weights

UNITS, HORIZON, WINDOW = 128, 50, 500
#: Tensors of a file in their order, each followed by its two moments.
SHAPES = ((HORIZON,), (UNITS, HORIZON), (1, UNITS), (UNITS,), (UNITS, UNITS))
#: Values of the series before the published validation split.
TRAINING = 40_000


def published_networks() -> list[SequenceModel]:
    """Return the networks in the folder lesion of ``SPARSE_ENGINE_DATA``, if it is there."""
    folder = data_folder("lesion")
    if not folder.is_dir():
        return []
    return [read_network(each) for each in sorted(folder.iterdir()) if each.is_dir()]


def read_network(folder: Path) -> SequenceModel:
    """Read a network that forecasts the Mackey-Glass series, and its wiring in hp.json."""
    options = json.loads((folder / "hp.json").read_text())
    numbers = np.fromfile(folder / "model.ckpt.data-00000-of-00001", "<f4")
    sizes = [math.prod(shape) for shape in SHAPES]
    expected = 2 + 3 * sum(sizes)  # two powers of Adam's decay rates come first
    if len(numbers) != expected:
        raise ValueError(f"expected {expected} numbers in {folder}, found {len(numbers)}")
    starts = np.cumsum([2, *(3 * size for size in sizes[:-1])])
    bias, readout, inputs, recurrent_bias, recurrent = (
        torch.from_numpy(numbers[start : start + size].reshape(shape).copy())
        for start, size, shape in zip(starts, sizes, SHAPES, strict=True)
    )
    mask = torch.tensor(options.get("w_rec_mask", ())).bool()
    if mask.shape != recurrent.shape:
        raise ValueError(
            f"expected w_rec_mask of shape {[*recurrent.shape]} in {folder / 'hp.json'}, found "
            f"{[*mask.shape]}"
        )
    rnn: Any = SparseRNN(1, UNITS, density=0.05)
    model = SequenceModel(rnn, HORIZON)
    # Their rows are sources, and ours targets.
    rnn.weight_hh_l0 = SparseWeight.from_dense(recurrent.T, mask.T)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(inputs.T)
        rnn.bias_ih_l0.copy_(recurrent_bias)
        rnn.bias_hh_l0.zero_()
        model.readout.weight.copy_(readout.T)
        model.readout.bias.copy_(bias)
    return model.eval()


@torch.no_grad()
def forecast_error(model: nn.Module) -> float:
    """Return the mean squared error on the 19 validation windows of the published series."""
    x, y = _windows()
    return nn.functional.mse_loss(model(x), y).item()


@cache
def _windows() -> tuple[Tensor, Tensor]:
    path = data_folder("mackey_glass") / "MackeyGlass_t17.txt"
    series = torch.from_numpy(np.loadtxt(path, dtype=np.float32))[TRAINING:]
    windows = series.unfold(0, WINDOW + HORIZON, WINDOW)
    return windows[:, :WINDOW].T.unsqueeze(2), windows[:, WINDOW:]


#: Random orders in which loops are removed.
ORDERS = 10
#: Names of the curves of :class:`Lesions` that remove loops.
KINDS = {"unbalanced": "unbalanced loops", "balanced": "balanced loops", "both": "all loops"}
#: Settings of networks with planted loops, whose weights are trained and whose wiring stays.
PLANTED: dict[str, Any] = {"method": "static", "wiring": "planted"}
FILES = "mackey-glass, published networks"
NOTE = "published: means over ten networks, from their files"


@dataclass(frozen=True)
class Lesioned:
    """Task whose networks are lesioned, and settings beside the published ones.

    ``published`` are means over ten networks, computed from their files: of the intact network, and
    without the loops of each of :data:`KINDS`.
    """

    split: str
    metric: str
    higher_is_better: bool
    published: tuple[float, float, float, float]
    settings: dict[str, Any]


TASKS = {
    "mackey-glass": Lesioned(
        "validation",
        "mse",
        False,
        (3.44e-4, 14.3e-4, 44.9e-4, 59.5e-4),
        {"evaluate_every": 60, "learning_rate": 2e-3},
    ),
    "gesture": Lesioned(
        "test",
        "accuracy",
        True,
        (0.7094, 0.6776, 0.6816, 0.6555),
        {"faithful": True, "learning_rate": 1e-2},
    ),
}


class ZhangLesions(Experiment):
    """Lesions of networks that are trained here, and of published ones where their files are."""

    name = "zhang-lesions"
    summary = "lesions of balanced and unbalanced feed-forward loops in trained networks"
    source = SOURCE

    def rows(self, plan: Plan) -> list[Row]:
        """Train networks with planted loops, remove the loops, and return what remains."""
        variants = [Variant(name, name, PLANTED | task.settings) for name, task in TASKS.items()]
        runs = train_variants(variants, plan)
        lesions = {
            name: [lesion_run(run, task) for run in runs[name]] for name, task in TASKS.items()
        }
        rows = [row for name in TASKS for row in rows_of(name, TASKS[name], lesions[name])]
        if files := published_networks():
            found = [lesion_model(model, forecast_error) for model in files]
            rows += rows_of(FILES, TASKS["mackey-glass"], found)
            lesions[FILES] = found
        with drawing():
            draw(plan.folder / "lesions.png", lesions)
        return rows


def lesion_run(run: StoredRun, task: Lesioned) -> Lesions:
    """Remove the planted loops of a trained network."""

    def evaluate(model: nn.Module) -> float:
        return run.config.task.evaluate(model, task.split)[task.metric]

    return lesion_model(run.model(), evaluate, seed=run.config.seed)


def lesion_model(
    model: nn.Module, evaluate: Callable[[nn.Module], float], *, seed: int = 0
) -> Lesions:
    """Remove the planted loops of a network with one recurrent weight."""
    (weight,) = recurrent_weights(model)
    loops = find_planted_loops(weight)
    return lesion(model, loops, evaluate, weight=weight, orders=ORDERS, seed=seed)


def rows_of(variant: str, task: Lesioned, found: Sequence[Lesions]) -> list[Row]:
    """Return the metric of intact networks and of what lesions leave of them.

    Random links are as many as the unbalanced loops have. The mean change of the metric by one
    removed loop, or by three random links, compares kinds that are not equally many.
    """
    metric = f"{task.split} {task.metric}"
    intact, *without = task.published
    rows = [
        Row(
            variant,
            f"{metric}, intact",
            [each.intact for each in found],
            published=intact,
            higher_is_better=task.higher_is_better,
            note=NOTE,
        )
    ]
    for (kind, name), published in zip(KINDS.items(), without, strict=True):
        values = [float(each.curves[kind].mean[-1]) for each in found]
        rows.append(Row(variant, f"{metric} without {name}", values, published=published))
    rows += [
        Row(variant, f"{metric} without as many random links", [*map(after_random_links, found)])
    ]
    for kind in ("unbalanced", "balanced", "random links"):
        each = "3 random links" if kind == "random links" else f"each {kind} loop"
        changes = [change(lesions, kind) for lesions in found]
        rows.append(Row(variant, f"change of {task.metric} by {each}", changes))
    for kind in ("unbalanced", "balanced"):
        counts = [float(lesions.curves[kind].steps) for lesions in found]
        rows.append(Row(variant, f"{kind} loops", counts))
    return rows


def after_random_links(lesions: Lesions) -> float:
    """Return the mean metric without as many random links as the unbalanced loops have."""
    return float(lesions.curves["random links"].mean[lesions.curves["unbalanced"].steps])


def change(lesions: Lesions, kind: str) -> float:
    """Return the mean change of the metric by one step of a curve; nan for one without steps."""
    curve = lesions.curves[kind]
    return (float(curve.mean[-1]) - lesions.intact) / curve.steps if curve.steps else float("nan")


def draw(path: Path, lesions: Mapping[str, Sequence[Lesions]]) -> None:
    """Draw the lesion curves of the first network of each variant, in a panel each."""
    from sparse_engine.lab import plot

    with plot.panels(path, 1, len(lesions), size=(4.8 * len(lesions), 3.8)) as (row,):
        for axes, (name, found) in zip(row, lesions.items(), strict=True):
            plot.lesion_curves(found[0], axes)
            axes.set_title(name, fontsize=10)
