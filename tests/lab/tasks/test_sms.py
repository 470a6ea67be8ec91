"""Short messages: words, vocabulary, split, and damaged files."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import SMS, Step
from sparse_engine.lab.tasks.sms import words_of


def test_counts_are_the_published_ones(data):
    task = SMS(data=data / "sms")
    messages, classes = task.messages
    assert classes.bincount().tolist() == [747, 4827]
    assert len(task.vocabulary) + 1 == 933
    lengths = torch.tensor([len(words) for words in messages]).double()
    assert lengths.mean() == pytest.approx(14.9, abs=0.05)
    assert (lengths > 25).double().mean() == pytest.approx(0.142, abs=5e-4)
    assert (lengths == 0).sum() == 3
    sizes = {name: len(part) for name, part in task.examples.items()}
    assert sizes == {"train": 4459 - 446, "validation": 446, "test": 1115}
    assert all(part.inputs.shape[1] == 25 for part in task.examples.values())


def test_words_are_letters_in_lower_case():
    assert words_of("U don't\tSay_so  2day, é £1!") == ["u", "dont", "sayso", "day"]
    assert words_of("12 34 !") == []


def test_numbers_are_those_of_frequent_words(tiny):
    task = tiny("sms")
    messages, classes = task.messages
    counts = Counter(word for words in messages for word in words)
    assert set(task.vocabulary) == {word for word, count in counts.items() if count > 10}
    assert sorted(task.vocabulary.values()) == list(range(1, len(task.vocabulary) + 1))
    expected = Counter(
        (tuple(([task.vocabulary.get(w, 0) for w in words] + [0] * 25)[:25]), int(label))
        for words, label in zip(messages, classes, strict=True)
    )
    found = Counter()
    for part in task.examples.values():
        found += Counter(zip(map(tuple, part.inputs.tolist()), part.targets.tolist(), strict=True))
    assert found == expected


def test_the_split_follows_its_seed_alone(tiny):
    one, same, other = (tiny("sms", split_seed=seed).examples for seed in (1, 1, 2))
    assert torch.equal(one["test"].inputs, same["test"].inputs)
    assert not torch.equal(one["test"].inputs, other["test"].inputs)
    fewer = tiny("sms", split_seed=1, validation_size=3).examples
    assert torch.equal(one["test"].inputs, fewer["test"].inputs)
    assert len(fewer["train"]) == len(one["train"]) + 7


def test_validation_leaves_some_for_training(tiny):
    for size in (0, 48, -1):
        message = f"expected validation_size of 1 to 47, found {size}"
        with pytest.raises(ValueError, match=message):
            tiny("sms", validation_size=size).load()


def test_the_faithful_loss_has_two_softmaxes(tiny):
    task = tiny("sms", faithful=True)
    logits, classes = torch.tensor([[800.0, -800.0], [-800.0, 800.0]]), torch.tensor([0, 1])
    assert task.measures(logits, classes)["loss"] == pytest.approx(math.log(1 + math.exp(-1)))
    outputs = torch.randn(6, 2)
    classes = torch.randint(2, (6,))
    faithful, ours = task.measures(outputs, classes), tiny("sms").measures(outputs, classes)
    assert faithful["accuracy"] == ours["accuracy"]
    torch.testing.assert_close(ours["loss"], nn.functional.cross_entropy(outputs, classes))


def test_the_embedding_is_uniform_and_learned(tiny):
    task = tiny("sms")
    model = task.build(RecurrentNetwork(hidden=8), generator=torch.Generator().manual_seed(0))
    vectors = model.embedding.weight
    assert vectors.shape == (len(task.vocabulary) + 1, 50)
    assert vectors.abs().max() <= 1 and vectors.std().item() == pytest.approx(3**-0.5, rel=0.1)
    task.loss(model, Step(0)).backward()
    assert vectors.grad.any()
