"""Gradients of all cells have the same bits for any number of threads, many more than there are.

Dense input weights that torch multiplies are left out: the bits of its products depend on threads.
"""

import pytest
import torch

from sparse_engine.nn import (
    SparseCTRNN,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseLTC,
    SparseNeuralODE,
    SparseONLSTM,
    SparseRateRNN,
    SparseRHN,
    SparseRNN,
)

pytestmark = pytest.mark.cpu

SIZES = {"input_size": 8, "hidden_size": 96, "density": 0.4}
SPARSE_INPUT = SIZES | {"input_density": 0.5}
MAKERS = {
    "linear": lambda: SparseLinear(8, 200, density=0.5),
    "rnn": lambda: SparseRNN(**SIZES),
    "rnn, sparse input": lambda: SparseRNN(**SPARSE_INPUT),
    "rnn, layer norm": lambda: SparseRNN(**SPARSE_INPUT, layer_norm=True),
    "lstm": lambda: SparseLSTM(**SIZES),
    "lstm, sparse input": lambda: SparseLSTM(**SPARSE_INPUT),
    "lstm, projection": lambda: SparseLSTM(**SIZES, proj_size=40),
    "lstm, layer norm": lambda: SparseLSTM(**SPARSE_INPUT, layer_norm=True),
    "gru": lambda: SparseGRU(**SIZES),
    "gru, sparse input": lambda: SparseGRU(**SPARSE_INPUT),
    "rhn": lambda: SparseRHN(**SPARSE_INPUT, recurrence_depth=2),
    "on_lstm": lambda: SparseONLSTM(**SPARSE_INPUT, chunk_size=12),
    "ctrnn": lambda: SparseCTRNN(**SPARSE_INPUT, trainable_tau=True),
    "rate_rnn": lambda: SparseRateRNN(**SPARSE_INPUT, trainable_tau=True),
    "neural_ode": lambda: SparseNeuralODE(**SPARSE_INPUT),
    "ltc": lambda: SparseLTC(**SPARSE_INPUT),
}


def check(name, shape, counts, threads):
    module, x = MAKERS[name](), torch.randn(*shape, 8)

    def gradients():
        module.zero_grad()
        y = module(x)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(torch.cos(y.detach()))
        return {"y": y.detach()} | {key: p.grad.clone() for key, p in module.named_parameters()}

    threads(1)
    alone = gradients()
    for count in counts:
        threads(count)
        for key, tensor in gradients().items():
            assert torch.equal(alone[key], tensor), f"{key} with {count} threads"


@pytest.mark.parametrize("name", MAKERS)
def test_more_threads_than_processors(name, threads):
    check(name, (20, 70), (2, 12, 32), threads)


@pytest.mark.exhaustive
@pytest.mark.parametrize("shape", [(7, 33), (50, 70), (3, 257)])
@pytest.mark.parametrize("name", MAKERS)
def test_all_counts(name, shape, threads):
    check(name, shape, (2, 3, 4, 8, 12, 16, 32, 64), threads)
