"""WikiText-2: articles of Wikipedia in 33,278 words."""

from __future__ import annotations

from typing import Any, ClassVar

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.word_language import WordLanguage

_ADDRESS = "https://wikitext.smerity.com/wikitext-2-v1.zip"
_HASH = "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"


def _file(name: str) -> DataFile:
    file = f"wiki.{name}.tokens"
    return DataFile("wikitext-2", file, _ADDRESS, _HASH, f"wikitext-2/{file}")


class WikiText2(WordLanguage):
    """Articles of Wikipedia (Merity et al. 2016): 2,088,628 training words.

    The recipe is the AWD-LSTM with a mixture of 15 softmaxes (Yang et al. 2018) at the density of
    Selfish-RNN (Liu et al., ICML 2021).
    """

    name = "wikitext-2"
    summary = "next words of articles of Wikipedia, in 33,278 words"
    files: ClassVar[dict[str, Any]] = {
        "train": _file("train"),
        "validation": _file("valid"),
        "test": _file("test"),
    }
    recipe: ClassVar[dict[str, Any]] = {
        "steps": 1_990_000,
        "every": 1990,
        "evaluate_every": 1990,
        "batch_size": 15,
        "bptt": 70,
        "varied": True,
        "evaluation_streams": 10,
        "optimizer": "SNTASGD",
        "optimizer_options": {"weight_decay": 1.2e-6, "nonmono": 5},
        "learning_rate": 15.0,
        "scheduler": "constant",
        "clip_value": None,
        "clip_norm": 0.25,
        "method": "selfish",
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
