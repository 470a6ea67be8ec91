"""Runs with --online: a run equals a literal loop over steps, and goes on bit for bit."""

import copy
from functools import partial

import pytest
import torch

from sparse_engine import online
from sparse_engine.lab.cli import main
from sparse_engine.lab.tasks import CopyMemory, DelayedMatch, Laser, Step
from sparse_engine.lab.train import Checkpoint, Config, Run, read_metrics
from sparse_engine.lab.train.online import LEARNERS, Online
from sparse_engine.topology import SET, RigL, Static

SETTINGS = {"hidden": 12, "density": 0.3, "optimizer": "SGD", "learning_rate": 0.05, "every": 4}
SETTINGS |= {"scheduler": "constant", "clip_value": None, "evaluate_every": 1, "save_every": 5}
KINDS = {
    "rtrl": online.RTRL,
    "snap1": online.SnAp,
    "snap2": lambda network: online.SnAp(network, 2),
    "rflo": online.RFLO,
    "eprop": online.EProp,
}


def run(folder, task, name, method=Static, **settings):
    config = Config.of(task, **{**SETTINGS, "online": name, **settings})
    return Run(folder, config, method=method)


def tiny(**settings):
    return CopyMemory(delay=2, batch_size=5, held_out=4, **settings)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("method", [Static, SET, RigL])
def test_a_run_is_a_loop_over_steps(name, method, tmp_path):
    """Of batches of 22 steps: the third batch is cut short."""
    task, steps = tiny(), 50
    options = {Static: {}, SET: {"every": 4}, RigL: {"every": 4, "steps": steps}}[method]
    cell = "rnn" if name == "rflo" else "gru"
    made = run(tmp_path, task, name, partial(method, **options), steps=steps, cell=cell)
    model = copy.deepcopy(made.model)
    made.train(progress=False, pictures=False)

    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    rewiring, learner, losses = (
        method(model, optimizer, **options),
        KINDS[name](model.recurrent),
        [],
    )
    learner.follow(rewiring)
    while len(losses) < steps:
        batch = task.batch(Step(len(losses) // 22, seed=0))
        begins = torch.ones(5)
        for x, target in zip(batch.inputs.unbind(1), batch.targets.unbind(1), strict=True):
            if len(losses) == steps:
                break
            optimizer.zero_grad()
            logits = model.readout(learner.step(x, resets=begins))
            loss = -logits.log_softmax(1).gather(1, target[:, None]).mean()
            learner.backward(loss)
            optimizer.step()
            losses.append(loss.item())
            if len(losses) < steps:
                rewiring.step()
            begins = torch.zeros(5)
    found = [entry["loss"] for entry in read_metrics(tmp_path / "metrics.jsonl")]
    assert found == pytest.approx(losses, rel=1e-4)
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(made.model.state_dict()[key], tensor, msg=key)
    versions = [made.model.recurrent.weight_hh_l0.topology_version]
    assert versions == [0 if method is Static else 12]
    assert KINDS.keys() == LEARNERS.keys()


def test_rtrl_at_a_rate_of_zero_has_the_gradient_through_time(tmp_path):
    task = DelayedMatch(delay=1, batch_size=3, held_out=4)
    made = run(tmp_path, task, "rtrl", steps=task.steps, learning_rate=0.0, cell="lstm")
    total = {}
    zero_grad = made.optimizer.zero_grad

    def keep():
        for key, parameter in made.model.named_parameters():
            if parameter.grad is not None:
                total[key] = total.get(key, 0) + parameter.grad.clone()
        zero_grad()

    made.optimizer.zero_grad = keep
    made.train(progress=False, pictures=False)
    keep()
    task.loss(made.model.train(), Step(0)).backward()
    for key, parameter in made.model.named_parameters():
        torch.testing.assert_close(total[key] / task.steps, parameter.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_a_run_goes_on_bit_for_bit(name, tmp_path):
    """From the middle of a sequence, between two rewirings."""
    files = []
    for folder, stop in (("whole", None), ("stopped", 33)):
        made = run(tmp_path / folder, tiny(), name, partial(SET, every=4), steps=48)
        if stop is not None:
            take, calls = made._take_step, []

            def interrupted(bar, take=take, calls=calls, stop=stop):
                if len(calls) == stop:
                    raise KeyboardInterrupt
                calls.append(0)
                take(bar)

            made._take_step = interrupted
            with pytest.raises(KeyboardInterrupt):
                made.train(progress=False, pictures=False)
            made = Run(tmp_path / folder, made.config, method=partial(SET, every=4), resume=True)
            assert made.step == 30
        made.train(progress=False, pictures=False)
        names = ("metrics.jsonl", "topology.jsonl", "checkpoint-00000048.safetensors")
        files.append([(tmp_path / folder / name).read_bytes() for name in names])
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("adding", {}, "a target at each step to learn online.*found adding"),
        ("mackey-glass", {}, "a target at each step to learn online"),
        (None, {"step_dropout": 0.1}, "expected step_dropout = 0"),
        (None, {"online": "rflo", "cell": "lstm"}, "one state for RFLO"),
        (None, {"cell": "ltc"}, "expected sums|elementwise|SparseWeight"),
        (None, {"layers": 2, "dropout": 0.5}, "expected no dropout in training"),
        (None, {"online": "snap"}, r"expected online of \['rtrl', 'snap1'.*found 'snap'"),
    ],
)
def test_what_cannot_learn_online_is_refused(task, settings, message, tmp_path):
    settings = {"online": "snap1", "steps": 8, **settings}
    config = Config.of(tiny(), **SETTINGS) if task is None else Config.published(task, every=4)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Run(tmp_path / "run", config.replaced(**settings))
    assert not (tmp_path / "run").exists()


def test_a_task_whose_first_steps_do_not_count_is_refused():
    with pytest.raises(ValueError, match=r"a target at each step.*found laser"):
        Online("snap1", Laser(), torch.nn.Module(), None)


def test_the_command_trains_online_and_resumes(tmp_path):
    out = f"--out={tmp_path / 'run'}"
    options = ["--steps=6", "--every=2", "--hidden=12", "--evaluate-every=3"]
    assert main(["train", "delayed-match", *options, "--online", "eprop", out]) == 0
    config = Config.from_json(Checkpoint.load(tmp_path / "run").config)
    assert config.online == "eprop" and config.steps == 6
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 2
    assert main(["resume", str(tmp_path / "run")]) == 0
