"""Nothing ever takes memory of out_features x in_features, not even address space.

A weight of 100,000 x 100,000 with a million links would be 40 GB as a dense float32 matrix, and
10 GB as a mask of bytes.
"""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from pathlib import Path
import torch
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN, SparseWeight
from sparse_engine.topology import SET

UNITS = 100_000


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


torch.set_num_threads(2)
torch.nn.Linear(2, 2)(torch.ones(2, 2)).sum().backward()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = peak()
{body}
print(peak() - before)
"""

BODIES = {
    "linear": """
model = SparseLinear(UNITS, UNITS, density=1e-4)
run = lambda: model(torch.randn(2, UNITS))
""",
    "recurrent": """
model = SparseRNN(4, UNITS, density=1e-4)
run = lambda: model(torch.randn(3, 2, 4))[0]
""",
    "lstm": """
model = SparseLSTM(4, UNITS, density=2.5e-5)
run = lambda: model(torch.randn(3, 2, 4))[0]
""",
    "gru": """
model = SparseGRU(4, UNITS, density=1e-4 / 3)
run = lambda: model(torch.randn(3, 2, 4))[0]
""",
}

TRAINING = """
optimizer = torch.optim.Adam(model.parameters())
rule = SET(model, optimizer, every=1)
for _ in range(2):
    optimizer.zero_grad()
    run().square().mean().backward()
    optimizer.step()
    rule.step()
assert [weight.nnz for weight in rule.weights] == [1_000_000]
state = model.state_dict()
model.load_state_dict(state)
"""

CONVERSION = """
weight = SparseWeight.erdos_renyi(UNITS, UNITS, density=1e-4)
rows, cols, values = weight.rows(), weight.col_indices, weight.values.detach()
weight = SparseWeight.from_coo(rows, cols, values, (UNITS, UNITS))
assert weight.to_torch_csr().values().numel() == weight.fan_in().sum() == 1_000_000
print(repr(weight))
"""


def run(body):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("kind", BODIES)
def test_training_and_rewiring(kind):
    # Ten vectors of a million links are 40 to 80 MB; the rest is the library's working memory.
    assert run(BODIES[kind] + TRAINING) < 250


def test_conversion():
    assert run(CONVERSION) < 250


def test_the_limit_would_notice_a_dense_matrix():
    with pytest.raises(AssertionError, match="can't allocate memory"):
        run("torch.empty(UNITS, UNITS, dtype=torch.bool)")
