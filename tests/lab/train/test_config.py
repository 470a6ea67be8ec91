"""Settings of runs."""

from dataclasses import dataclass

import pytest

from sparse_engine.lab.networks import Network
from sparse_engine.lab.tasks import MackeyGlass
from sparse_engine.lab.train import Config, Run


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
