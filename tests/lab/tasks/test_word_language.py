"""Texts, their vocabulary, streams and lengths, and what a step reads and carries."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.lab.networks import LanguageNetwork
from sparse_engine.lab.tasks import TASKS, PennTreebank, Step, WordLanguage
from sparse_engine.lab.tasks.word_language import read_words, streams

TEXTS = {
    "train": "the cat sat on the mat\n" * 12 + "a dog ran\n",
    "valid": "the dog sat on a cat\n" * 6,
    "test": "a bird ran on the mat\n\n" * 6,
}
LANGUAGE = [task for task in TASKS.values() if issubclass(task, WordLanguage)]
SMALL = LanguageNetwork(embedding=8, hidden=8, output_dropout=0.3)


@pytest.fixture
def folder(tmp_path):
    """Texts under the names of every data set."""
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / f"wiki.{name}.tokens").write_text(text)
    return tmp_path


@pytest.fixture(params=LANGUAGE, ids=lambda task: task.name)
def task(request, folder):
    return request.param(data=folder, batch_size=3, bptt=4, evaluation_streams=2)


def build(task, network=SMALL, seed=1):
    return task.build(network, generator=torch.Generator().manual_seed(seed))


def run(task, model, steps, memory=None, first=0, seed=0):
    """Yield every step after its loss."""
    memory = {} if memory is None else memory
    for number in range(first, first + steps):
        step = Step(number, seed, memory)
        torch.manual_seed(number)
        step.loss = task.loss(model, step)
        yield step


def test_vocabulary_is_in_the_order_of_the_texts(task):
    words = "the cat sat on mat <eos> a dog ran bird"
    assert task.vocabulary == tuple(words.split())
    assert build(task).decoder.out_features == 10


def test_texts_of_the_penn_treebank_have_the_published_counts(data):
    task = PennTreebank(data=data / "penn", small=True)
    valid, test = (read_words(data / "penn" / f"{name}.txt") for name in ("valid", "test"))
    assert (len(valid), len(test)) == (73_760, 82_430)
    assert valid.count("<eos>") == 3370 and test.count("<eos>") == 3761
    assert [len({*words}) for words in (valid, test)] == [6022, 6049]
    assert len(task.vocabulary) == 7596
    assert task.vocabulary[:3] == ("consumers", "may", "want")
    assert task.batches == 95


def test_small_task_needs_no_training_text(folder):
    (folder / "train.txt").unlink()
    task = PennTreebank(data=folder, batch_size=3, evaluation_streams=2, small=True)
    words = read_words(folder / "valid.txt")
    number = {word: index for index, word in enumerate(task.vocabulary)}
    codes = torch.tensor([number[word] for word in words])
    cut = 42 * 9 // 10
    assert torch.equal(task._streams["train"], streams(codes[:cut], 3))
    assert torch.equal(task._streams["validation"], streams(codes[cut:], 2))
    assert task.vocabulary[0] == "the" and "bird" in task.vocabulary
    with pytest.raises(FileNotFoundError, match=r"train\.txt"):
        _ = replace(task, small=False).vocabulary


def test_streams_lie_side_by_side():
    cut = streams(torch.arange(11), 3)
    assert cut.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    with pytest.raises(ValueError, match=r"two words for each of 6 streams, found 11"):
        streams(torch.arange(11), 6)


def test_every_step_goes_on_where_the_one_before_ended(task):
    task = replace(task, varied=False)
    model, text, seen = build(task), task._streams["train"], []
    given = model.loss
    model.loss = lambda *inputs: seen.append(inputs) or given(*inputs)
    steps = [*run(task, model, 2 * task.batches)]
    assert task.batches == math.ceil((len(text) - 1) / 4)
    for epoch in range(2):
        part = seen[epoch * task.batches : (epoch + 1) * task.batches]
        assert torch.equal(torch.cat([words for words, _, _ in part]), text[:-1])
        assert torch.equal(torch.cat([following for _, following, _ in part]), text[1:])
        assert part[0][2] is None, "an epoch starts from zeros"
        assert all(state is not None for _, _, state in part[1:])
    assert all(step.rate == 1 for step in steps)


def test_state_is_carried_without_its_gradient(task):
    task, memory = replace(task, varied=False), {}
    model = build(task).eval()
    losses = [step.loss for step in run(task, model, task.batches, memory)]
    assert not any(tensor.requires_grad for tensor in memory.values())
    text = task._streams["train"]
    at_once = model.loss(text[:-1], text[1:])[0]
    sizes = [4] * (task.batches - 1) + [(len(text) - 2) % 4 + 1]
    mean = sum(loss.detach() * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
    assert_close(mean, at_once)
    losses[-1].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_varied_lengths(task):
    task = replace(task, varied=True, bptt=40, data=task.data)
    drawn = [task._length(Step(number, seed=1)) for number in range(2000)]
    assert drawn == [task._length(Step(number, seed=1)) for number in range(2000)]
    assert drawn != [task._length(Step(number, seed=2)) for number in range(2000)]
    lengths = torch.tensor(drawn).double()
    about_half = (lengths < 30).double().mean()
    assert about_half == pytest.approx(0.05 + 0.95 * 0.0228, abs=0.02)
    assert lengths[lengths > 30].mean() == pytest.approx(39.5, abs=0.5)
    assert lengths[lengths > 30].std() == pytest.approx(4.8, abs=0.4)
    shortest = [replace(task, bptt=1)._length(Step(number)) for number in range(200)]
    assert min(shortest) == 5
    step = next(run(task, build(task), 1))
    assert step.rate == task._length(Step(0)) / 40


def test_evaluation_carries_the_state(task):
    model = build(task).eval()
    for split in task.splits:
        text = task._streams[split]
        loss = model.loss(text[:-1], text[1:])[0].item()
        found = task.evaluate(model, split)
        assert found["loss"] == pytest.approx(loss, rel=1e-5)
        assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)


def test_perplexity_of_a_model_that_is_certain_and_wrong(task):
    model = build(task).eval()
    with torch.no_grad():
        model.decoder.bias[0] = 1e5
    assert task.evaluate(model)["perplexity"] == math.inf


def test_lines_of_other_systems_and_separators_inside_words(tmp_path):
    (tmp_path / "text").write_bytes("one two\r\n\u2028three\x0b\n".encode())
    assert read_words(tmp_path / "text") == ["one", "two", "<eos>", "three", "<eos>"]
