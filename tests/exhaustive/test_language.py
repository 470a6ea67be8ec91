"""Each of the four word language models learns a small text while it is rewired."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from language_networks import SMALL

from sparse_engine.lab.tasks import PennTreebank
from sparse_engine.lab.tasks.word_language import read_words
from sparse_engine.lab.train import Config, Run

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def generated_text(lines, seed):
    """Lines in which each letter is followed by one of three others, at 0.7, 0.2 and 0.1."""
    generator = torch.Generator().manual_seed(0)
    following = torch.stack([torch.randperm(26, generator=generator)[:3] for _ in range(26)])
    generator.manual_seed(seed)
    letter, text = 0, []
    for _ in range(lines):
        line = []
        for choice in torch.multinomial(
            torch.tensor([0.7, 0.2, 0.1]), 20, replacement=True, generator=generator
        ):
            letter = int(following[letter, choice])
            line.append(LETTERS[letter])
        text.append(" ".join(line))
    return "\n".join(text) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for seed, (name, lines) in enumerate([("train", 400), ("valid", 60), ("test", 60)]):
        (folder / f"{name}.txt").write_text(generated_text(lines, seed))
    return folder


def unigram_perplexity(folder):
    """The perplexity of the test text for its own frequencies of words: no unigrams do better."""
    counts = Counter(read_words(folder / "test.txt"))
    total = sum(counts.values())
    return math.exp(-sum(n * math.log(n / total) for n in counts.values()) / total)


@pytest.mark.parametrize("name", SMALL)
def test_text_is_learnt(name, folder, tmp_path):
    task = PennTreebank(
        data=folder, batch_size=10, bptt=20, evaluation_streams=2, varied=name == "on-lstm"
    )
    config = Config.of(
        task,
        steps=600,
        every=50,
        fraction=0.3,
        evaluate_every=100,
        optimizer="Adam",
        optimizer_options={},
        learning_rate=0.01,
    )
    network = replace(SMALL[name], embedding=32, hidden=32, last=32, density=0.4)
    result = Run(tmp_path / "run", replace(config, network=network)).train(progress=False)
    # e to the entropy of 0.7, 0.2 and 0.1 is 2.2; the ends of lines cost little.
    assert result.best["test"]["perplexity"] < 0.5 * unigram_perplexity(folder)
