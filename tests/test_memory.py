"""Nothing ever takes memory of out_features x in_features."""

import subprocess
import sys

SCRIPT = """
import resource, torch
from sparse_engine.nn import SparseRNN
from sparse_engine.topology import SET

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(2)
start = peak()
network = SparseRNN(4, 100_000, density=1e-4)
optimizer = torch.optim.Adam(network.parameters())
rule = SET(network, optimizer, every=1)
for _ in range(2):
    optimizer.zero_grad()
    network(torch.randn(3, 2, 4))[0].square().mean().backward()
    optimizer.step()
    rule.step()
assert network.weight_hh_l0.nnz == 1_000_000
print(peak() - start)
"""


def test_a_hundred_thousand_neurons_stay_sparse():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # A million links of 4 bytes with all that belongs to them; the dense matrix is 40,000 MB.
    assert float(done.stdout) < 250
