"""An epoch of SET-MLP with up to 1,803,317 neurons, on generated data.

The shape is that of the published demonstration: 135 examples of 3312 features in 5 classes, three
hidden layers, epsilon 20, batches of 2, SGD with momentum 0.9 and weight decay 2e-4, and a
rewiring at the end of the epoch that replaces 30 % of the links. The published times are minutes
per epoch of the authors' SciPy program on a laptop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn
from tqdm.auto import tqdm

from benchmarks._harness import Options, Timing
from benchmarks._memory import in_new_process, peak_bytes
from benchmarks._report import progress, quartiles, report
from sparse_engine.models import SparseMLP
from sparse_engine.topology import SET, NormalInit

EXAMPLES, FEATURES, CLASSES, BATCH = 135, 3312, 5, 2
#: Published minutes per epoch by the units of a hidden layer.
PUBLISHED = {3_000: 0.3, 30_000: 3.0, 300_000: 49.0, 600_000: 112.0}
TARGETS = {300_000: "40 s", 600_000: "90 s and 5 GB"}
QUICK = (1000,)


@dataclass(frozen=True)
class SetMLP(Options):
    """The options of all benchmarks, of which repeats and seconds have no effect here, and

    Attributes:
        hidden: units of a hidden layer, for each case.
        epsilon: size of a layer, epsilon * (inputs + outputs) links.
        epochs: epochs of each case, at least 3; the first does not count.
    """

    hidden: tuple[int, ...] = tuple(PUBLISHED)
    epsilon: float = 20.0
    epochs: int = 3


def examples() -> tuple[Tensor, Tensor]:
    """Features of each class scattered around a centre of its own, and the classes."""
    y = torch.arange(EXAMPLES) % CLASSES
    return (torch.randn(CLASSES, FEATURES)[y] + torch.randn(EXAMPLES, FEATURES)) / 2**0.5, y


class Training:
    """A network that trains by epochs.

    Attributes:
        seconds: seconds of each whole epoch, of each of its parts in sum, and of all processors.
        losses: mean loss of each epoch.
    """

    def __init__(self, hidden: int, epsilon: float) -> None:
        self.x, self.y = examples()
        sizes = [FEATURES, hidden, hidden, hidden, CLASSES]
        self.model = SparseMLP(sizes, epsilon=epsilon)
        self.links = sum(p.numel() for name, p in self.model.named_parameters() if "weight" in name)
        # The fused update reads and writes the links, their gradients and momenta once.
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4, fused=True
        )
        batches = -(-EXAMPLES // BATCH)
        self.rewiring = SET(
            self.model, self.optimizer, fraction=0.3, every=batches, new_links=NormalInit(0.1)
        )
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.losses: list[float] = []

    def epoch(self) -> None:
        """Trains on all examples once, and rewires."""
        spent, losses = dict.fromkeys(("forward", "backward", "update", "rewiring"), 0.0), []

        def lap(part: str) -> None:
            nonlocal began
            now = time.perf_counter()
            spent[part] += now - began
            began = now

        began, processor = time.perf_counter(), time.process_time()
        order = torch.randperm(EXAMPLES)
        for chosen in tqdm(order.split(BATCH), desc="batches", leave=False, disable=None):
            loss = nn.functional.cross_entropy(self.model(self.x[chosen]), self.y[chosen])
            lap("forward")
            self.optimizer.zero_grad()
            loss.backward()
            lap("backward")
            self.optimizer.step()
            lap("update")
            self.rewiring.step()
            lap("rewiring")
            losses.append(loss.item())
        for part, seconds in spent.items():
            self.seconds[part].append(seconds)
        self.seconds["epoch"].append(sum(spent.values()))
        self.seconds["processor"].append(time.process_time() - processor)
        self.losses.append(sum(losses) / len(losses))


def row(hidden: int, options: SetMLP) -> dict[str, object]:
    """Measures one case in this process."""
    options.prepare()
    trainings = []

    def train() -> None:
        trainings.append(Training(hidden, options.epsilon))
        for _ in range(options.epochs):
            trainings[0].epoch()

    peak, training = peak_bytes(train), trainings[0]
    timings = {part: Timing.of(each[1:]) for part, each in training.seconds.items()}
    minutes = PUBLISHED.get(hidden)
    epoch = timings["epoch"].median
    return {
        "neurons": FEATURES + 3 * hidden + CLASSES,
        "links": training.links,
        **{f"{part} s": timing.median for part, timing in timings.items()},
        "peak GB": peak / 1e9,
        "published min": minutes,
        "x published": None if minutes is None else 60 * minutes / epoch,
        "target": TARGETS.get(hidden),
        "first loss": training.losses[0],
        "last loss": training.losses[-1],
        **quartiles(timings),
    }


def run(options: SetMLP) -> None:
    """Measures each case in a process of its own, and reports all."""
    if options.epochs < 3:
        raise ValueError(f"expected epochs of at least 3, found {options.epochs}")
    cases = QUICK if options.quick else options.hidden
    rows = [in_new_process(row, hidden, options) for hidden in progress(cases, "set_mlp")]
    report("set_mlp", rows, options)


if __name__ == "__main__":
    run(tyro.cli(SetMLP, description=__doc__))
