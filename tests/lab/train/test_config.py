"""Settings of runs, and runs that earlier releases began."""

import json
from dataclasses import dataclass

import pytest

from sparse_engine.lab.networks import Network
from sparse_engine.lab.tasks import MackeyGlass
from sparse_engine.lab.train import Config, Run
from sparse_engine.lab.train.record import sealed, unsealed

SMALL = {"hidden": 8, "density": 0.2, "steps": 6, "every": 2, "evaluate_every": 2, "save_every": 2}


def test_settings_are_replaced_wherever_they_are():
    config = Config.published("mackey-glass").replaced(
        series_seed=2, cell="lstm", method="rigl", every=7, scheduler="constant", steps=9
    )
    assert config.task.series_seed == 2 and config.network.cell == "lstm"
    assert (config.method.name, config.method.every) == ("rigl", 7)
    assert config.optimization.scheduler == "constant" and config.steps == 9


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="of a run of mackey-glass, found colour, size"):
        Config.published("mackey-glass", size=1, colour=2)
    with pytest.raises(ValueError, match=r"expected a task of .*, found 'nonsense'"):
        Config.published("nonsense")


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("network"),
        lambda record: record.update(colour=1),
        lambda record: record["network"].update(colour=1),
        lambda record: record["task"].update(name="nonsense"),
        lambda record: record["task"].pop("name"),
        lambda record: record.update(method=3),
    ],
)
def test_damaged_settings_are_refused(damage):
    record = Config.published("mackey-glass").to_json()
    damage(record)
    with pytest.raises(ValueError, match="expected"):
        Config.from_json(record)


@dataclass(frozen=True)
class Another(Network):
    pass


def test_a_network_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"RecurrentNetwork for the task mackey-glass.*Another"):
        Run(tmp_path / "run", Config(MackeyGlass(), Another()))


def as_version_2(folder):
    """Rewrites a run's folder as releases before version 3 wrote it."""
    path = folder / "checkpoint.json"
    record = unsealed(json.loads(path.read_text()))
    config = record["config"]
    flat = {name: config[name] for name in ("steps", "seed", "evaluate_every", "save_every")}
    flat |= {name: config["network"][name] for name in ("hidden", "density", "gain")}
    flat |= {"learning_rate": config["optimization"]["learning_rate"]}
    names = ("name", "fraction", "every", "final_density")
    rule = {name: config["method"][name] for name in names}
    flat = {"task": config["task"]["name"], **flat, "rule": rule}
    del record["scheduler"]
    for group in record["optimizer"]["param_groups"]:
        del group["initial_lr"]
    path.write_bytes(sealed({**record, "version": 2, "config": flat}))
    (folder / "config.json").write_text(json.dumps(flat, indent=1))


def without_new_settings(folder):
    """Rewrites a run's folder as releases wrote it that did not have some settings yet."""
    path = folder / "checkpoint.json"
    record = unsealed(json.loads(path.read_text()))
    for name in ("wiring", "wiring_options", "fixed_weights"):
        del record["config"]["network"][name]
    path.write_bytes(sealed(record))
    (folder / "config.json").write_text(json.dumps(record["config"], indent=1))
    assert Config.from_json(record["config"]) == Config.published("mackey-glass", **SMALL)


@pytest.mark.parametrize("aged", [as_version_2, without_new_settings])
def test_a_run_of_an_earlier_release_is_resumed(tmp_path, monkeypatch, aged):
    """The resumed run ends as one that never stopped."""
    config = Config.published("mackey-glass", **SMALL)
    Run(tmp_path / "whole", config).train(progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(MackeyGlass, "loss", stopping_at(5, MackeyGlass.loss))
        with pytest.raises(InterruptedError):
            Run(tmp_path / "parts", config).train(progress=False)
    aged(tmp_path / "parts")
    resumed = Run(tmp_path / "parts", config, resume=True)
    assert resumed.step == 4
    resumed.train(progress=False)
    for name in ("checkpoint-00000006.safetensors", "metrics.jsonl", "topology.jsonl"):
        whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
        assert whole.read_bytes() == parts.read_bytes(), name


def stopping_at(number, loss):
    def stopping(task, model, step):
        if step.number == number:
            raise InterruptedError
        return loss(task, model, step)

    return stopping
