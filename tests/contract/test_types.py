"""Constructors take the types that torch.nn takes: nothing that would mean something else."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sparse_engine import nn as sparse
from sparse_engine.nn import CELLS, SparseLinear, SparseWeight

INTEGERS = (8.0, True, "8", torch.tensor(8), None)
FLAGS = (0, 1, "True", "False", None, torch.tensor(True))
NUMBERS = (True, "0.5", None, torch.tensor(0.5), float("nan"), 1j)
WRONG = {
    **dict.fromkeys(("input_size", "hidden_size", "num_layers"), INTEGERS),
    **dict.fromkeys(("in_features", "out_features", "features", "layer"), INTEGERS),
    **dict.fromkeys(("unfolds", "chunk_size", "recurrence_depth", "proj_size"), INTEGERS),
    **dict.fromkeys(("bias", "batch_first", "bidirectional"), FLAGS),
    **dict.fromkeys(("layer_norm", "coupled", "trainable_tau"), FLAGS),
    **dict.fromkeys(("dropout", "density", "input_density", "recurrent_dropout"), NUMBERS),
    **dict.fromkeys(("gain", "dt", "sigma", "slope", "p", "zoneout"), NUMBERS),
    "checkpoint_every": INTEGERS[:-1],
    "cell_clip": [each for each in NUMBERS if each is not None],
    "solver": (sparse.RK4, "rk4", 4),
    "nonlinearity": ("gelu", True, 4, ["tanh"]),
}
BESIDE = ("density", "input_density")
CASES = [
    (kind, name)
    for kind, entry in CELLS.items()
    for name in (
        *entry.options,
        *BESIDE,
        *(["gain"] if kind != "ltc" else []),
    )
]


def refused(make, name):
    for value in WRONG[name]:
        with pytest.raises((TypeError, ValueError), match=f"expected .*{name}.* found") as caught:
            make(**{name: value})
        if WRONG[name] is INTEGERS or WRONG[name] is FLAGS:
            assert caught.type is TypeError, value
    if name in ("dropout", "bias", "batch_first", "hidden_size", "input_size"):
        for value in WRONG[name][:1]:  # as torch has it
            with pytest.raises(caught.type):
                nn.LSTM(**{"input_size": 6, "hidden_size": 8, "num_layers": 2} | {name: value})


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_cells(kind, name):
    fine = {"input_size": 6, "hidden_size": 7, "num_layers": 2, "density": 0.5}
    refused(lambda **wrong: CELLS[kind](**fine | wrong), name)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            partial(SparseLinear, in_features=6, out_features=8, density=0.5),
            ("in_features", "out_features", "bias", "density", "gain"),
        ),
        (
            partial(SparseWeight.erdos_renyi, in_features=6, out_features=8, density=0.5),
            ("in_features", "out_features", "gain"),
        ),
        (partial(sparse.SReLU, features=3), ("features",)),
        (partial(sparse.AllReLU, slope=0.5, layer=1), ("slope", "layer")),
        (sparse.LockedDropout, ("p", "batch_first")),
        (partial(sparse.EmbeddingDropout, nn.Embedding(3, 4)), ("p",)),
        (partial(sparse.DropConnect, SparseLinear(3, 3, density=0.5), weights=["weight"]), ("p",)),
    ],
    ids=[
        "linear",
        "weight",
        "srelu",
        "all_relu",
        "locked_dropout",
        "embedding_dropout",
        "dropping",
    ],
)
def test_other_modules(make, names):
    for name in names:
        refused(make, name)


def test_numbers_of_numpy_are_numbers():
    rnn = sparse.SparseRNN(6, 8, 2, density=np.float32(0.5), dropout=np.float64(0.5))
    assert rnn.weight_hh_l0.nnz == 32


def test_dropout_without_a_layer_to_drop_is_told_of_as_by_torch():
    for make in (nn.RNN, partial(sparse.SparseRNN, density=0.5)):
        with pytest.warns(UserWarning, match="num_layers"):
            make(6, 8, dropout=0.5)
