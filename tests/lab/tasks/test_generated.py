"""Tasks that are drawn or computed: their examples, and the batches of supervised tasks."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from testing import refusals
from torch import nn

from sparse_engine.lab.tasks import (
    Adding,
    Classification,
    CopyMemory,
    DelayedMatch,
    Examples,
    NextValue,
    Regression,
    Step,
    seeded,
    split,
)
from sparse_engine.lab.tasks.next_value import GENERATED


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


@dataclass(frozen=True)
class Numbers(Regression):
    """The target of each number is itself."""

    batch_size: int = 3
    count: int = 10
    sequences = False
    name = "numbers"

    def load(self):
        numbers = torch.arange(float(self.count))[:, None]
        return {"train": Examples(numbers, numbers), "validation": Examples(numbers, numbers)}

    def build(self, network, *, generator):
        return nn.Identity()


@dataclass(frozen=True)
class Lasting(Classification):
    """Sequences of unequal lengths."""

    seen: list = field(default_factory=list)
    most_evaluated = 4

    def load(self):
        inputs = torch.randn(10, 5, 2)
        return {"validation": Examples(inputs, torch.arange(10) % 2, torch.arange(10) % 5 + 1)}

    def build(self, network, *, generator):
        def model(inputs, lengths):
            self.seen.append((inputs, lengths))
            return inputs[lengths - 1, torch.arange(len(lengths))]

        return model


def visited(task, epoch, seed=0):
    steps = range(epoch * task.batches, (epoch + 1) * task.batches)
    return torch.cat([task.batch(Step(number, seed)).inputs[:, 0] for number in steps]).tolist()


def test_an_epoch_visits_examples_once_in_a_new_order():
    task = Numbers(count=12)
    epochs = [visited(task, epoch) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert visited(task, 0, seed=1) != epochs[0]
    # A step that is asked for alone, as after a resume, has the same batch.
    assert visited(Numbers(count=12), 2) == visited(task, 2)


def test_the_last_examples_of_an_epoch_are_left_out():
    assert len(set(visited(Numbers(), 0))) == 9
    for size in (0, 11):
        with pytest.raises(ValueError, match=f"batch_size of 1 to 10, .* found {size}"):
            Numbers(batch_size=size).loss(nn.Identity(), Step(0))


def test_evaluation_is_the_mean_over_examples():
    task = Lasting()
    examples = task.examples["validation"]
    found = task.evaluate(task.build(None, generator=None))
    last = examples.inputs[torch.arange(10), examples.lengths - 1]
    right = (last.argmax(1) == examples.targets).double().mean()
    assert found["accuracy"] == pytest.approx(right.item())
    assert found["loss"] == pytest.approx(
        nn.functional.cross_entropy(last, examples.targets).item()
    )
    assert [len(lengths) for _, lengths in task.seen] == [4, 4, 2]
    assert torch.equal(torch.cat([lengths for _, lengths in task.seen]), examples.lengths)
    assert task.seen[0][0].shape == (5, 4, 2), "models take time first"


def test_classes_of_every_step_count_alike():
    outputs, classes = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    found = Lasting().measures(outputs, classes)
    each = [nn.functional.cross_entropy(outputs[k], classes[k]) for k in range(3)]
    torch.testing.assert_close(found["loss"], torch.stack(each).mean())
    assert found["accuracy"] == (outputs.argmax(2) == classes).double().mean()


def test_split_cuts_in_the_given_order():
    numbers = torch.arange(10)
    order = torch.randperm(10)
    parts = split(Examples(numbers, numbers), order, validation=2, test=3)
    assert torch.equal(parts["validation"].inputs, order[:2])
    assert torch.equal(parts["test"].inputs, order[2:5])
    assert torch.equal(parts["train"].inputs, order[5:])


def drawn(name, length, lanes=3, seed=0):
    found = GENERATED[name](lanes, length, np.random.default_rng(seed))
    assert found.shape == (lanes, length) and found.dtype == np.float64
    return found


def test_henon():
    for lane, values in enumerate(drawn("henon", 50)):
        x, y = 0.1 + 0.01 * lane, 0.0
        for value in values:
            assert value == pytest.approx(x, abs=1e-6)
            x, y = 1 - 1.4 * x * x + y, 0.3 * x


def test_mackey_glass():
    x = drawn("mackey-glass", 400)
    rise = 0.2 * x[:, :-18] / (1 + x[:, :-18] ** 10) - 0.1 * x[:, 17:-1]
    np.testing.assert_allclose(np.diff(x)[:, 17:], rise, atol=1e-12)
    assert (x[0] != x[1]).all() and 0.2 < x.min() < 0.6 < 1.1 < x.max() < 1.6


def test_lorenz():
    start = 1 + 0.1 * np.random.default_rng(5).standard_normal((3, 2))
    for lane, values in enumerate(drawn("lorenz", 100, lanes=2, seed=5)):
        x, y, z = map(float, start[:, lane])
        for step in range(400):
            if step % 2 == 0 and step >= 200:
                assert values[step // 2 - 100] == pytest.approx(x, abs=1e-6)
            rise = 10 * (y - x), x * (28 - z) - y, x * y - 8 * z / 3
            x, y, z = (each + 0.01 * by for each, by in zip((x, y, z), rise, strict=True))


def test_lanes_go_on_from_batch_to_batch():
    task = NextValue(series="henon", batch_size=4)
    (series,) = drawn("henon", 64 + 76 * 200 + 1, lanes=3)[2:]
    series = torch.from_numpy((series - series.mean()) / series.std()).float()
    for number in (0, 1, 74, 75):
        batch = task.batch(Step(number))
        first = 64 + 200 * (number % 75)
        assert batch.inputs.shape == batch.targets.shape == (4, 200, 1)
        torch.testing.assert_close(batch.inputs[2, :, 0], series[first : first + 200])
        torch.testing.assert_close(batch.targets[2, :, 0], series[first + 1 : first + 201])
    held_out = task.examples["validation"]
    torch.testing.assert_close(held_out.targets[2, :, 0], series[64 + 75 * 200 + 1 :])


@pytest.mark.parametrize(
    ("name", "period", "lines"), [("sunspot", 3000, 3329), ("laser", 1000, 1000)]
)
def test_lanes_of_a_file_start_at_equal_distances_and_again_after_a_period(
    name, period, lines, tmp_path, monkeypatch
):
    (tmp_path / "online").mkdir()
    file = tmp_path / "online" / f"{name}.txt"
    values = [i * 1777 % lines for i in range(lines)]  # each number once
    file.write_text("".join(f"{value}\n" for value in values))
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(tmp_path))
    starts = []
    for seed in (0, 1):
        task = NextValue(series=name, batch_size=4, series_seed=seed)
        start = np.random.default_rng(seed).integers(lines)
        for lane in range(4):
            first = start + lane * (lines // 4)
            own = np.array([values[(first + k) % lines] for k in range(64 + period + 1)])
            own = torch.from_numpy((own - own.mean()) / own.std()).float()
            for number in (0, 3, 14, 15, 74):
                batch = task.batch(Step(number))
                for k in (0, 1, 199):
                    at = 64 + (200 * number + k) % period
                    torch.testing.assert_close(batch.inputs[lane, k, 0], own[at])
                    torch.testing.assert_close(batch.targets[lane, k, 0], own[at + 1])
        starts.append(start)
    assert starts[0] != starts[1]
    for content in ("1\n1\n", "3\n", ""):
        file.write_text(content)
        with pytest.raises(ValueError, match="expected numbers that differ"):
            NextValue(series=name).prepare()


def test_biases_begin_at_zero_and_weights_at_an_eighth():
    task = NextValue()
    network = task.network(hidden=64, density=1.0, gain=1.0)
    state = task.build(network, generator=torch.Generator().manual_seed(0)).state_dict()
    for name, tensor in state.items():
        if "bias" in name:
            assert not tensor.any()
        elif name.endswith(("weight_ih_l0", "weight_hh_l0.values")):
            assert 0.11 < tensor.abs().max() <= 1 / 8


test_impossible_settings_are_refused_of_next_value = refusals(
    ("expected batch_size of at least 1 .*, found 0", lambda: NextValue(batch_size=0).prepare()),
    ("series_seed of at least 0, found 8 and -1", lambda: NextValue(series_seed=-1).prepare()),
)


def test_an_absent_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"sunspot.txt of the data set online in .*none"):
        NextValue(series="sunspot").prepare()
