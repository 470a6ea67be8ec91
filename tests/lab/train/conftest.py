"""A task that is small enough to train within a test, and runs of it."""

from functools import partial

import pytest
import torch
from torch import nn

from sparse_engine.lab.tasks import Step, Task
from sparse_engine.lab.train import Config, Run
from sparse_engine.topology import SET


class Echo(Task):
    """Task of saying the first of five numbers after the last."""

    name = "echo"
    summary = "say the first of five numbers after the last"
    metric = "mse"
    splits = ("validation",)

    def __init__(self, at_step=None):
        object.__setattr__(self, "at_step", at_step or (lambda step: None))

    def build(self, network, *, generator):
        model = nn.Module()
        model.recurrent = network.recurrent(1, generator=generator)
        model.readout = nn.Parameter(torch.randn(model.recurrent.hidden_size, generator=generator))
        return model

    def loss(self, model, step):
        self.at_step(step.number)
        x = torch.randn(5, 4, 1, generator=torch.Generator().manual_seed(step.number))
        states, _ = model.recurrent(x)
        return nn.functional.mse_loss(states[-1] @ model.readout, x[0, :, 0])

    def evaluate(self, model, split="validation"):
        with torch.no_grad():
            return {"mse": Echo().loss(model, Step(1_000_000)).item()}


def make(folder, *, at_step=None, resume=False, every=3, method=None, **settings):
    """A run of 20 steps that saves every 5."""
    shape = {"hidden": 12, "density": 0.3, "steps": 20, "evaluate_every": 2, "save_every": 5}
    config = Config.of(Echo(at_step), **shape | {"every": every} | settings)
    method = method or partial(SET, fraction=0.3, every=every)
    return Run(folder, config, method=method, resume=resume)


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
