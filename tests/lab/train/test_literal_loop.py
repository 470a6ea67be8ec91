"""A literal training loop, with each setting of a run, and of language."""

import copy
import math
import signal
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from lab.train.conftest import Echo
from language_networks import SMALL
from safetensors.torch import load_file

from sparse_engine.lab.tasks import PennTreebank
from sparse_engine.lab.train import Config, Run, read_metrics
from sparse_engine.topology import SET, Static


class Score(Echo):
    """The same with a metric of which a greater one is better."""

    metric = "score"
    higher_is_better = True

    def evaluate(self, model, split="validation"):
        return {"score": -super().evaluate(model)["mse"]}


def scheduled(config, optimizer):
    """The rate after so many steps, by its equation, or torch's own scheduler."""
    start, kind = config.learning_rate, config.scheduler
    if kind == "cosine":
        return lambda step: start * (1 + math.cos(math.pi * step / STEPS)) / 2
    if kind == "constant":
        return lambda step: start
    return getattr(torch.optim.lr_scheduler, kind)(optimizer, **config.scheduler_options)


def literal_loop(config, model, *, rewired):
    """Train as the settings say; return entries of metrics.jsonl and the best model."""
    task, settings, entries, best = config.task, config.optimization, [], None
    kind = getattr(torch.optim, settings.optimizer)
    optimizer = kind(model.parameters(), settings.learning_rate, **settings.optimizer_options)
    rewiring = SET(model, optimizer, fraction=0.3, every=EVERY, seed=config.seed)
    schedule = scheduled(settings, optimizer)
    group, waited = optimizer.param_groups[0], 0
    for step in range(1, config.steps + 1):
        loss = task.error(model.train(), step - 1)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        if settings.clip_value is not None:
            gradients = [g.clamp(-settings.clip_value, settings.clip_value) for g in gradients]
        if settings.clip_norm is not None:
            norm = sum(float(g.square().sum()) for g in gradients) ** 0.5
            gradients = [g * min(1, settings.clip_norm / norm) for g in gradients]
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        rate = group["lr"]
        group["lr"] *= task.rates[(step - 1) % len(task.rates)]
        optimizer.step()
        group["lr"] = rate
        if config.network.cell == "ltc":
            for name, parameter in model.named_parameters():
                for part, least in {"cm": 1e-6, "gleak": 1e-5, "values": 0}.items():
                    if part in name:
                        parameter.data.clamp_(least, 1000)
        if callable(schedule):
            group["lr"] = schedule(step)
        elif settings.scheduler != "ReduceLROnPlateau":
            schedule.step()
        if step % config.evaluate_every == 0 or step == config.steps:
            error = task.error(model.eval(), 1_000_000).item()
            entries.append((step, error, loss.item()))
            if settings.scheduler == "ReduceLROnPlateau":
                schedule.step(error)
            waited += 1
            if error == min(entry[1] for entry in entries):
                best, waited = copy.deepcopy(model.state_dict()), 0
        if step == config.steps or waited == config.patience > 0:
            break
        if rewired:
            rewiring.step()
    return entries, best


STEPS, EVERY = 24, 4
PLAIN = {"optimizer": "SGD", "learning_rate": 0.2, "scheduler": "constant", "clip_value": None}
SETTINGS = {
    "plain": {},
    "learning_rate": {"learning_rate": 0.1},
    "optimizer": {"optimizer": "Adam", "learning_rate": 0.02},
    "options": {"optimizer_options": {"momentum": 0.8, "weight_decay": 0.1}},
    "clip_value": {"clip_value": 0.05},
    "clip_norm": {"clip_norm": 0.2},
    "both clip": {"clip_value": 0.1, "clip_norm": 0.2},
    "cosine": {"scheduler": "cosine"},
    "StepLR": {"scheduler": "StepLR", "scheduler_options": {"step_size": 5, "gamma": 0.5}},
    "plateau": {
        "scheduler": "ReduceLROnPlateau",
        "scheduler_options": {"patience": 0, "factor": 0.5},
    },
    "patience": {"patience": 2, "learning_rate": 0.6},
    "cell": {"cell": "ltc", "learning_rate": 0.1},
    "seed": {"seed": 5},
    "evaluate_every": {"evaluate_every": 5},
}


def trained(folder, task, method, **settings):
    shape = {"hidden": 12, "density": 0.3, "steps": STEPS, "evaluate_every": 2}
    config = Config.of(task, **shape | PLAIN | settings)
    run = Run(folder, config, method=method)
    model = copy.deepcopy(run.model)
    run.train(progress=False, pictures=False)
    return run, model


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


TASKS = [
    *((Echo(), name) for name in SETTINGS),
    *((Score(), name) for name in ("plain", "plateau", "patience")),
    *((Echo(rates=(1.0, 0.25, 2.0)), name) for name in ("plain", "cosine")),
]


@pytest.mark.parametrize(("task", "name"), TASKS, ids=str)
def test_a_run_equals_a_literal_loop(tmp_path, task, name):
    method = partial(SET, fraction=0.3, every=EVERY, seed=SETTINGS[name].get("seed", 0))
    run, model = trained(tmp_path, task, method, **SETTINGS[name])
    start = copy.deepcopy(model)
    entries, best = literal_loop(run.config, model, rewired=True)
    sign = -1 if task.higher_is_better else 1
    found = read_metrics(tmp_path / "metrics.jsonl")
    assert [entry["step"] for entry in found] == [entry[0] for entry in entries]
    for ours, (_, error, loss) in zip(found, entries, strict=True):
        assert (sign * ours["metric"], ours["loss"]) == pytest.approx((error, loss), rel=1e-4)
    assert run.step == entries[-1][0]
    assert_equal(run.model.state_dict(), model.state_dict())
    assert_equal(load_file(tmp_path / "best.safetensors"), best)
    if name != "plain":
        same = {"learning_rate": 0.1} if name == "cell" else {}
        plain = Config.of(task, hidden=12, steps=STEPS, evaluate_every=2, **PLAIN | same)
        others, _ = literal_loop(plain, start, rewired=True)
        assert others[: len(entries)] != entries, "the setting changes nothing"


def test_averages_are_evaluated_and_the_wiring_waits_where_they_begin(tmp_path):
    """Averaging begins at the first metric above an earlier one; that step does not rewire."""
    settings = {"optimizer": "SNTASGD", "optimizer_options": {"nonmono": 0}, "learning_rate": 0.5}
    every_two = partial(SET, fraction=0.3, every=2)
    trained(tmp_path / "rewired", Echo(), every_two, **settings)
    entries = read_metrics(tmp_path / "rewired" / "metrics.jsonl")
    metrics = [entry["metric"] for entry in entries]
    begins = next(i for i in range(1, len(metrics)) if metrics[i] > min(metrics[:i]))
    assert 0 < begins < len(metrics) - 1
    steps = [record["step"] for record in read_metrics(tmp_path / "rewired" / "topology.jsonl")]
    assert steps == [n for n in range(2, STEPS, 2) if n != entries[begins]["step"]]

    run, model = trained(tmp_path / "static", Echo(), Static, **settings)
    values, seen, averaging = [], [], False
    for step in range(1, STEPS + 1):
        task = run.task
        gradients = torch.autograd.grad(task.error(model.train(), step - 1), [*model.parameters()])
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.data -= 0.5 * gradient
        if averaging:
            values.append([parameter.detach().clone() for parameter in model.parameters()])
        if step % 2 == 0:
            averaged = copy.deepcopy(model).eval()
            if values:
                counted = values[1:] or values
                for i, parameter in enumerate(averaged.parameters()):
                    parameter.data = torch.stack([each[i] for each in counted]).mean(0)
            seen.append(task.error(averaged, 1_000_000).item())
            averaging = averaging or seen[-1] > min(seen)
    assert averaging
    found = read_metrics(tmp_path / "static" / "metrics.jsonl")
    assert [entry["metric"] for entry in found] == pytest.approx(seen, rel=1e-4)


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
