"""A task that is small enough to train within a test, and runs of it."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from sparse_engine.lab.tasks import Task
from sparse_engine.lab.train import Config, Run
from sparse_engine.topology import SET


@dataclass(frozen=True)
class Echo(Task):
    """Say the first of five numbers after the last, with dropout before the readout."""

    rates: tuple[float, ...] = (1.0,)

    name = "echo"
    summary = "say the first of five numbers after the last"
    metric = "mse"
    splits = ("validation",)

    #: Called with the number of each step.
    at_step = staticmethod(lambda step: None)

    def build(self, network, *, generator):
        model = nn.ModuleDict({"recurrent": network.recurrent(1, generator=generator)})
        model["dropout"] = nn.Dropout(0.3)
        model["readout"] = nn.Linear(network.hidden, 1)
        nn.init.normal_(model["readout"].weight, generator=generator)
        nn.init.zeros_(model["readout"].bias)
        return model

    def loss(self, model, step):
        self.at_step(step.number)
        step.rate = self.rates[step.number % len(self.rates)]
        return self.error(model, step.number)

    def error(self, model, number):
        torch.manual_seed(number)
        x = torch.randn(5, 6, 1)
        states, _ = model["recurrent"](x)
        return (model["readout"](model["dropout"](states[-1])) - x[0]).square().mean()

    @torch.no_grad()
    def evaluate(self, model, split="validation"):
        return {"mse": self.error(model, 1_000_000).item()}


def make(folder, *, at_step=None, resume=False, every=3, method=None, observers=(), **settings):
    """A run of 20 steps that saves every 5."""
    shape = {"hidden": 12, "density": 0.3, "steps": 20, "evaluate_every": 2, "save_every": 5}
    task = Echo()
    if at_step is not None:
        object.__setattr__(task, "at_step", at_step)
    config = Config.of(task, **shape | {"every": every} | settings)
    method = method or partial(SET, fraction=0.3, every=every)
    return Run(folder, config, method=method, observers=observers, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a run that was never stopped, by name."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)
        make(folder).train(progress=False)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def start(monkeypatch):
    """Makes runs that leave no pictures, which take longer than everything else here."""
    monkeypatch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)
    return make
