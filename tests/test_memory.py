"""Nothing ever takes memory of out_features x in_features, not even address space.

A weight of 100,000 x 100,000 with a million links would be 40 GB as a dense float32 matrix, and
10 GB as a mask of bytes.
"""

import pytest
from fresh_process import run_script

SCRIPT = """
import resource
from pathlib import Path
import torch
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN, SparseWeight
from sparse_engine.topology import SET

UNITS = 100_000


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def train(model, *shape):
    optimizer = torch.optim.Adam(model.parameters())
    rule = SET(model, optimizer, every=1)
    for _ in range(2):
        optimizer.zero_grad()
        y = model(torch.randn(shape))
        (y[0] if isinstance(y, tuple) else y).square().mean().backward()
        optimizer.step()
        rule.step()
    model.load_state_dict(model.state_dict())
    return [weight.nnz for weight in rule.weights]


torch.set_num_threads(2)
for kind in (SparseRNN, SparseLSTM, SparseGRU):  # so that the code is in memory
    train(kind(4, 100, density=0.5), 3, 2, 4)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = peak()
{body}
print(peak() - before)
"""

TRAINING = {
    "linear": "train(SparseLinear(UNITS, UNITS, density=1e-4), 2, UNITS)",
    "rnn": "train(SparseRNN(4, UNITS, density=1e-4), 3, 2, 4)",
    "lstm": "train(SparseLSTM(4, UNITS, density=2.5e-5), 3, 2, 4)",
    "gru": "train(SparseGRU(4, UNITS, density=1e-4 / 3), 3, 2, 4)",
}

CONVERSION = """
weight = SparseWeight.erdos_renyi(UNITS, UNITS, density=1e-4)
rows, cols, values = weight.rows(), weight.col_indices, weight.values.detach()
weight = SparseWeight.from_coo(rows, cols, values, (UNITS, UNITS))
assert weight.to_torch_csr().values().numel() == weight.fan_in().sum() == 1_000_000
print(repr(weight))
"""


def run(body):
    done = run_script(SCRIPT.format(body=body))
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("kind", TRAINING)
def test_training_and_rewiring(kind):
    # Ten vectors of a million links are 40 to 80 MB; the rest is the library's working memory.
    assert run(f"assert {TRAINING[kind]} == [1_000_000]") < 250


def test_conversion():
    assert run(CONVERSION) < 250


def test_the_limit_would_notice_a_dense_matrix():
    with pytest.raises(AssertionError, match="can't allocate memory"):
        run("torch.empty(UNITS, UNITS, dtype=torch.bool)")
