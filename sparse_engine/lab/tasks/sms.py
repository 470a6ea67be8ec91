"""SMS task: tell spam from other short messages, word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.readers import read_lines
from sparse_engine.lab.tasks.sequences import ZHANG_RECIPE, Sequences
from sparse_engine.lab.tasks.supervised import Classification, Examples, split
from sparse_engine.lab.tasks.task import seeded
from sparse_engine.models import SequenceModel

FILE = DataFile(
    "sms",
    "text_data.txt",
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
    "SMSSpamCollection",
)
LABELS = {"spam": 0, "ham": 1}


def words_of(message: str) -> list[str]:
    """Return the words of a message: its Latin letters, in lower case, between white space."""
    return re.sub(r"[^A-Za-z\s]", "", message).lower().split()


@dataclass(frozen=True)
class SMS(FromFiles, Sequences, Classification):
    """SMS Spam Collection (Almeida et al. 2011) as Zhang et al. (2023) prepared it.

    4,827 messages and 747 spam, of which 1,115 are for test. A message is its first 25 words as
    numbers; words that occur at most 10 times have the number 0, as has the padding of shorter
    messages. The model learns an embedding of 50 dimensions. The metric is the fraction of messages
    that are told right; calling none spam has .866.

    The recipe is the published SET run with a higher learning rate that falls, and 30 % of the
    words dropped in training, both chosen by validation messages.
    """

    batch_size: int = 128
    """Messages in a batch."""
    validation_size: int = 446
    """Messages for validation, of the 4,459 that are not for test."""
    split_seed: int = 0
    """Seed of the split; the published split was drawn anew for each run."""
    faithful: bool = False
    """Whether to keep the published flaw: cross-entropy of a softmax of a softmax."""

    name = "sms"
    summary = "tell spam from other short messages, word by word"
    recipe: ClassVar[dict[str, Any]] = {
        **ZHANG_RECIPE,
        "steps": 3535,
        "every": 35,
        "learning_rate": 2e-3,
        "hidden": 100,
        "input_std": 0.141,
        "readout_std": 0.088,
        "step_dropout": 0.3,
    }
    steps: ClassVar[int] = 25
    features: ClassVar[int] = 50
    answers: ClassVar[int] = 2
    #: Words that occur more often than this have a number of their own.
    rare: ClassVar[int] = 10

    @cached_property
    def messages(self) -> tuple[list[list[str]], Tensor]:
        """The words of every message and its class: 0 for spam and 1 for others."""
        path = FILE.find(self.data)
        lines = list(read_lines(path, 2, separator="\t"))
        if not lines:
            raise ValueError(f"expected messages, found none in {path}")
        classes = torch.tensor([line.one_of(LABELS, 0) for line in lines])
        return [words_of(line.fields[1]) for line in lines], classes

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The number of each frequent word, from 1, in the order of first occurrence."""
        counts = Counter(word for words in self.messages[0] for word in words)
        frequent = [word for word, count in counts.items() if count > self.rare]
        return {word: number for number, word in enumerate(frequent, 1)}

    def load(self) -> Mapping[str, Examples]:
        """Turn messages into numbers and split them: a fifth for test."""
        messages, classes = self.messages
        numbers = torch.zeros(len(messages), self.steps, dtype=torch.int64)
        for row, words in enumerate(messages):
            known = [self.vocabulary.get(word, 0) for word in words[: self.steps]]
            numbers[row, : len(known)] = torch.tensor(known, dtype=torch.int64)
        test = len(messages) - int(0.8 * len(messages))
        rest = len(messages) - test
        if not 0 < self.validation_size < rest:
            raise ValueError(
                f"expected validation_size of 1 to {rest - 1:,}, found {self.validation_size}"
            )
        order = torch.randperm(len(messages), generator=seeded(self.split_seed))
        examples = Examples(numbers, classes)
        return split(examples, order, test=test, validation=self.validation_size)

    def build(self, network: RecurrentNetwork, *, generator: torch.Generator) -> SequenceModel:
        """Make an embedding, drawn from U(-1, 1), and a recurrent network with a readout."""
        vectors = torch.empty(len(self.vocabulary) + 1, self.features)
        vectors.uniform_(-1, 1, generator=generator)
        embedding = nn.Embedding.from_pretrained(vectors, freeze=False)
        return self.model(network, embedding=embedding, generator=generator)

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy and the fraction of messages that are told right."""
        return super().measures(outputs.softmax(-1) if self.faithful else outputs, targets)
