"""Word language models of Selfish-RNN by Liu et al., ICML 2021.

Every matrix is sparse, embedding and decoder included. A rewiring after each epoch prunes by
magnitude over all gates together, and grows the same number of random links in each gate. Training
is by SGD with a constant learning rate until SNT-ASGD begins to average.
"""

from __future__ import annotations

from typing import Any

from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.tasks.word_language import AWD

SOURCE = "Liu et al., Selfish Sparse RNN Training, ICML 2021"
QUANTITIES = [Quantity.best(split, "perplexity", False) for split in ("validation", "test")]

#: Recurrent highway network of depth 10 with tied weights, for 500 epochs.
RHN: dict[str, Any] = {
    "steps": 664_000,
    "learning_rate": 15.0,
    "fraction": 0.5,
    "density": 0.472,
    "gain": 0.687,
    "cell": "rhn",
    "cell_options": {"recurrence_depth": 10, "recurrent_dropout": 0.25},
    "embedding": 830,
    "hidden": 830,
    "layers": 1,
    "tied": True,
    "locked": True,
    "word_dropout": 0.2,
    "between_dropout": 0.0,
}
#: Ordered-neurons LSTM, for 1000 epochs of about 686 sequences of varied lengths; the learning rate
#: is that of Shen et al. 2019.
ON_LSTM: dict[str, Any] = {
    **AWD,
    "steps": 686_000,
    "every": 686,
    "evaluate_every": 686,
    "learning_rate": 30.0,
    "cell": "on_lstm",
    "cell_options": {"chunk_size": 10},
    "embedding": 400,
    "last": 400,
    "input_dropout": 0.5,
    "between_dropout": 0.3,
    "output_dropout": 0.45,
    "link_dropout": 0.45,
}
#: Network of two layers of 650 units for 4 epochs of the validation text.
SMALL: dict[str, Any] = {
    "small": True,
    "steps": 1660,
    "every": 415,
    "evaluate_every": 82,
    "batch_size": 16,
    "bptt": 10,
    "learning_rate": 30.0,
    "optimizer_options": {"nonmono": 1},
    "fraction": 0.5,
    "gain": 1.0,
    "embedding": 650,
    "hidden": 650,
    "input_dropout": 0.2,
    "between_dropout": 0.2,
    "output_dropout": 0.2,
}
#: Initial values of the words in the sparse model. Those of 0.1 are made for dense networks: a
#: third of the links carries signals that are too small to learn from in a few epochs.
SPARSE: dict[str, Any] = {"word_bound": 0.5}
#: Settings of a model of torch's own dense layers.
DENSE: dict[str, Any] = {"dense": "everything", "method": "static"}


def _experiment(model: str, summary: str, variants: list[Variant]) -> TrainingExperiment:
    return TrainingExperiment(f"selfish-{model}", summary, SOURCE, variants, QUANTITIES)


def _selfish(
    model: str, summary: str, task: str, published: tuple[float, float], **settings: Any
) -> TrainingExperiment:
    values = {each.name: value for each, value in zip(QUANTITIES, published, strict=True)}
    return _experiment(model, summary, [Variant("Selfish", task, settings, values)])


SGD: dict[str, Any] = {"optimizer": "SGD", "optimizer_options": {}}
#: The experiments: published models, of which the recipes of the tasks are two, and a comparison of
#: sparse with dense and of SNT-ASGD with SGD, which takes minutes.
SELFISH = [
    _selfish("lstm", "stacked LSTM on Penn Treebank, 67 % sparse", "penn-treebank", (73.79, 71.65)),
    _selfish(
        "mixture",
        "AWD-LSTM with a mixture of softmaxes on WikiText-2, 55 % sparse",
        "wikitext-2",
        (65.96, 63.05),
    ),
    _selfish(
        "on-lstm",
        "ordered-neurons LSTM on Penn Treebank, 55 % sparse",
        "penn-treebank",
        (58.17, 56.31),
        **ON_LSTM,
    ),
    _selfish(
        "rhn",
        "recurrent highway network on Penn Treebank, 53 % sparse",
        "penn-treebank",
        (62.10, 60.35),
        **RHN,
    ),
    _experiment(
        "small",
        "LSTM on the validation text of Penn Treebank, sparse and dense, SNT-ASGD and SGD",
        [
            Variant(name, "penn-treebank", SMALL | settings)
            for name, settings in {
                "67 % sparse, SNT-ASGD": SPARSE,
                "67 % sparse, SGD": SPARSE | SGD,
                "67 % sparse, SNT-ASGD, published start": {},
                "dense, SNT-ASGD": DENSE,
                "dense, SGD": DENSE | SGD,
            }.items()
        ],
    ),
]
