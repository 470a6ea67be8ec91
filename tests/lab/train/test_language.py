"""Runs of word language models: states and positions are carried over an interruption."""

import signal
from dataclasses import dataclass, replace

import pytest
from language_networks import SMALL

from sparse_engine.lab.tasks import PennTreebank
from sparse_engine.lab.train import Config, Run

FILES = ("metrics.jsonl", "topology.jsonl", "checkpoint.json", "best.safetensors")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, lines in (("train", 30), ("valid", 4), ("test", 4)):
        (folder / f"{name}.txt").write_text("the cat sat on the mat and a dog ran\n" * lines)
    return folder


@dataclass(frozen=True)
class Interrupted(PennTreebank):
    """The task, interrupted at one step of the run."""

    def loss(self, model, step):
        if step.number == 13:
            signal.raise_signal(signal.SIGINT)
        return super().loss(model, step)


@pytest.fixture
def start(monkeypatch, texts):
    monkeypatch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)

    def make(folder, name, task=PennTreebank, *, resume=False, **settings):
        sized = task(
            data=texts, batch_size=4, bptt=8, evaluation_streams=2, varied=name == "on-lstm"
        )
        shape = {"steps": 30, "every": 6, "evaluate_every": 5, "save_every": 7}
        trigger = {"optimizer_options": {"nonmono": 0}, "learning_rate": 20.0}
        config = replace(Config.of(sized, **shape | trigger | settings), network=SMALL[name])
        return Run(folder, config, resume=resume)

    return make


@pytest.mark.parametrize("name", SMALL)
def test_interrupted_and_resumed_equals_never_stopped(tmp_path, start, name):
    whole = start(tmp_path / "whole", name)
    whole.train(progress=False)
    assert whole.optimizer.averaging, "the averages are resumed, too"
    assert not start(tmp_path / "parts", name, Interrupted).train(progress=False).finished
    assert start(tmp_path / "parts", name, resume=True).train(progress=False).finished
    for file in FILES:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
