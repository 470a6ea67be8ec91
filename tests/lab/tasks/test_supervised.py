"""Tasks with examples: epochs, measures and evaluations."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from sparse_engine.lab.tasks import Classification, Examples, Regression, Step, split


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
