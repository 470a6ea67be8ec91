"""Short runs of every task, cell and method: one that failed goes on as if it had not."""

import dataclasses
from itertools import cycle

import pytest
import torch
from lab.tasks.layouts import put_aeon, tiny_task

from sparse_engine.lab.networks import MLPNetwork
from sparse_engine.lab.tasks import TASKS, cifar_10
from sparse_engine.lab.train import METHODS, Config, Run
from sparse_engine.nn import CELLS

#: Methods that begin with more links than they end with.
FALLING = {"chtss", "granet", "narang", "pruning"}
#: Methods that grow links by the gradient of absent ones.
BY_GRADIENT = {"rigl", "gse", "snfs", "granet"}
STEPS = {"steps": 4, "every": 1, "evaluate_every": 2, "save_every": 2}
SIZES = {"hidden": 14, "embedding": 14, "last": 14, "layers": 1}
OPTIONS = {"rhn": {"recurrence_depth": 2}, "on_lstm": {"chunk_size": 7}}


NAMES = {name: {field.name for field in dataclasses.fields(TASKS[name].network)} for name in TASKS}


def config_of(task, method, **settings):
    sizes = {name: size for name, size in SIZES.items() if name in NAMES[task.name]}
    if task.network is MLPNetwork:
        sizes["hidden"] = (12, 8)
    if "epsilon" in NAMES[task.name]:
        sizes["epsilon"] = None
    density = 0.6 if method in FALLING else 0.3
    settings |= {"method": method, "density": density, "final_density": 0.2, **STEPS, **sizes}
    return Config.of(task, optimizer="Adam", optimizer_options={}, learning_rate=1e-3, **settings)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Checks that a run that failed goes on as one that did not."""
    put_aeon(monkeypatch)
    monkeypatch.setattr(cifar_10, "COUNT", 20)
    monkeypatch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)

    def check(name, method, **settings):
        task = tiny_task(tmp_path, name)
        config = config_of(task, method, **settings)
        whole = Run(tmp_path / "whole", config)
        result = whole.train(progress=False)
        assert result.finished and all(task.metric in result.last[split] for split in task.splits)

        loss = type(task).loss

        def failing(self, model, step):
            if step.number == 3:
                raise KeyError("as a crash")
            return loss(self, model, step)

        with monkeypatch.context() as patch, pytest.raises(KeyError, match="as a crash"):
            patch.setattr(type(task), "loss", failing)
            Run(tmp_path / "parts", config).train(progress=False)
        resumed = Run(tmp_path / "parts", config, resume=True)
        assert resumed.step == 2
        assert resumed.train(progress=False).last == result.last
        state = resumed.model.state_dict()
        for key, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, state[key]), key

    return check


in_turn = cycle(METHODS)
WITH_CELLS = [
    (name, cell, next(in_turn)) for cell in CELLS for name in TASKS if "cell" in NAMES[name]
]
WITHOUT = [(name, next(in_turn)) for name in TASKS if "cell" not in NAMES[name] for _ in range(4)]


@pytest.mark.parametrize(("name", "cell", "method"), WITH_CELLS)
def test_runs_with_cells(check, name, cell, method):
    if cell == "ltc" and method in BY_GRADIENT:
        method = "set"  # conductances do not grow by gradient
    check(name, method, cell=cell, cell_options=OPTIONS.get(cell, {}))


@pytest.mark.parametrize(("name", "method"), WITHOUT)
def test_runs_without_cells(check, name, method):
    check(name, method)
