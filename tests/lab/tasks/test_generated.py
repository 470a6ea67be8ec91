"""Tasks of random examples: each example is what its definition says."""

import math

import pytest
import torch
from testing import refusals

from sparse_engine.lab.tasks import Adding, CopyMemory, DelayedMatch, Step, seeded


def test_adding_is_the_sum_of_two_marked_numbers():
    examples = Adding(length=11).draw(500, seeded(0))
    numbers, marks = examples.inputs.unbind(2)
    assert examples.inputs.shape == (500, 11, 2) and examples.targets.shape == (500, 1)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert torch.equal(marks[:, :5].sum(1), torch.ones(500))
    assert torch.equal(marks[:, 5:].sum(1), torch.ones(500))
    torch.testing.assert_close((numbers * marks).sum(1, keepdim=True), examples.targets)
    assert marks.any(0).all(), "every step is marked in some example"


def test_copy_memory_repeats_the_symbols():
    task = CopyMemory(delay=7)
    examples = task.draw(200, seeded(0))
    inputs = examples.inputs.argmax(2)
    assert torch.equal(examples.inputs.sum(2), torch.ones(200, 27))
    assert inputs[:, :10].unique().tolist() == list(range(8))
    assert (inputs[:, 10:16] == 8).all() and (inputs[:, 16] == 9).all()
    assert (inputs[:, 17:] == 8).all()
    assert (examples.targets[:, :17] == 8).all()
    assert torch.equal(examples.targets[:, 17:], inputs[:, :10])


def test_copy_memory_counts_the_last_steps_alone():
    task = CopyMemory(delay=5)
    targets = task.draw(4, seeded(0)).targets
    outputs = torch.nn.functional.one_hot(targets, 9).float()
    outputs[:, :-10] = 0
    assert task.measures(outputs, targets)["accuracy"] == 1
    outputs[0, -1] = -outputs[0, -1]
    assert task.measures(outputs, targets)["accuracy"] == pytest.approx(39 / 40)


@pytest.mark.parametrize("delay", [0, 6])
def test_delayed_match_asks_whether_test_is_sample(delay):
    task = DelayedMatch(delay=delay, noise=0.0)
    inputs, targets = (lambda e: (e.inputs, e.targets))(task.draw(400, seeded(0)))
    sample, test = inputs[:, 3:8, 1:], inputs[:, 8 + delay : 13 + delay, 1:]
    assert torch.equal(sample, sample[:, :1].expand_as(sample))
    assert torch.equal(test, test[:, :1].expand_as(test))
    match = sample[:, 0].argmax(1) == test[:, 0].argmax(1)
    assert torch.equal(targets[:, -9:], torch.where(match, 1, 2)[:, None].expand(400, 9))
    assert not targets[:, :-9].any() and targets.shape[1] == 22 + delay
    assert 0.4 < match.double().mean() < 0.6
    assert sample[:, 0].argmax(1).unique().tolist() == list(range(8))
    assert sample.max() == 1 and sample.min() == pytest.approx(0, abs=1e-6)
    assert inputs[:, :-9, 0].eq(1).all() and not inputs[:, -9:].any()
    assert not inputs[:, 8 : 8 + delay, 1:].any() and not inputs[:, :3, 1:].any()


def test_delayed_match_has_the_noise_that_was_asked_for():
    quiet = DelayedMatch(noise=0.0).draw(300, seeded(0))
    noisy = DelayedMatch(noise=0.5).draw(300, seeded(0))
    assert torch.equal(quiet.targets, noisy.targets)
    assert (noisy.inputs - quiet.inputs).std() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("task", [Adding, CopyMemory, DelayedMatch])
def test_examples_of_training_and_splits_differ(task):
    one = task(held_out=32)
    drawn = [one.batch(Step(0)), one.batch(Step(1)), *one.examples.values()]
    inputs = [examples.inputs for examples in drawn]
    assert all(not torch.equal(a, b) for k, a in enumerate(inputs) for b in inputs[:k])
    assert torch.equal(task(held_out=32).examples["test"].inputs, one.examples["test"].inputs)


test_impossible_settings_are_refused = refusals(
    ("expected length of at least 2, found 1", lambda: Adding(length=1)),
    ("expected delay of at least 1, found 0", lambda: CopyMemory(delay=0)),
    ("expected delay of at least 0, found -1", lambda: DelayedMatch(delay=-1)),
    ("expected noise of at least 0, found nan", lambda: DelayedMatch(noise=math.nan)),
    ("expected batch_size of at least 1, found 0", lambda: Adding(batch_size=0)),
    ("expected held_out of at least 1, found 0", lambda: Adding(held_out=0)),
)
