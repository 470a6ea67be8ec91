"""A task that is small enough to train within a test, and runs of it."""

import json
from functools import partial

import pytest
import torch
from torch import nn

from sparse_engine.tasks import Task
from sparse_engine.topology import SET
from sparse_engine.train import Run, Settings
from sparse_engine.train.record import unsealed


class Echo(Task):
    """To say the first of five numbers after the last."""

    name = "echo"
    metric = "validation MSE"

    def __init__(self, at_step=None):
        self.at_step = at_step or (lambda step: None)

    def build(self, recurrent, *, generator):
        model = nn.Module()
        model.recurrent = recurrent(1)
        model.readout = nn.Parameter(torch.randn(model.recurrent.hidden_size, generator=generator))
        return model

    def loss(self, model, step):
        self.at_step(step)
        x = torch.randn(5, 4, 1, generator=torch.Generator().manual_seed(step))
        states, _ = model.recurrent(x)
        return nn.functional.mse_loss(states[-1] @ model.readout, x[0, :, 0])

    def evaluate(self, model):
        with torch.no_grad():
            return Echo().loss(model, 1_000_000).item()


def make(folder, *, at_step=None, resume=False, every=3, method=None, **settings):
    """A run of 20 steps that saves every 5."""
    shape = {"hidden": 12, "density": 0.3, "steps": 20, "evaluate_every": 2, "save_every": 5}
    return Run(
        folder,
        Echo(at_step),
        Settings(**shape | settings),
        method or partial(SET, fraction=0.3, every=every),
        description={"name": "set", "every": every},
        resume=resume,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a run that was never stopped, by name."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparse_engine.train.run.draw_pictures", lambda folder, model: None)
        make(folder).train(progress=False)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def make_version_1():
    """Rewrites a checkpoint as the first releases wrote it: without settings, logs and a seal."""

    def rewrite(folder):
        path = folder / "checkpoint.json"
        record = unsealed(json.loads(path.read_text()))
        del record["config"], record["logs"]
        path.write_text(json.dumps(record | {"version": 1}, indent=1))

    return rewrite


@pytest.fixture
def start(monkeypatch):
    """Makes runs that leave no pictures, which take longer than everything else here."""
    monkeypatch.setattr("sparse_engine.train.run.draw_pictures", lambda folder, model: None)
    return make
