"""A forked process computes, though the threads of its parent did not follow it there."""

import pytest
from fresh_process import run_script

# The alarm ends a child that waits for a thread which does not exist. Everything is so large that
# the kernels, and torch around them, use two threads in the parent.
SCRIPT = """
import os
import signal
import scipy.sparse
import torch
from sparse_engine import analysis, nn
from sparse_engine.topology import SET

torch.set_num_threads(2)


def gradients(module, x):
    module.zero_grad()
    result = module(x)
    result = result[0] if isinstance(result, tuple) else result
    result.square().mean().backward()
    return [result.detach(), *(p.grad for p in module.parameters())]


{body}
expected = run()
child = os.fork()
if child == 0:
    signal.alarm(60)
    found = run()
    os._exit(not all(torch.equal(a, b) for a, b in zip(expected, found, strict=True)))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert code != -signal.SIGALRM, "the forked process waits for ever"
assert code == 0, f"the forked process ended with {{code}}"
assert torch.get_num_threads() == 2
"""

TRAINING = """
network, x = nn.{cell}(8, 400, density=0.3), torch.randn(4, 64, 8)
run = lambda: gradients(network, x)
"""

BODIES = {
    **{cell: TRAINING.format(cell=cell) for cell in ("SparseRNN", "SparseLSTM", "SparseLTC")},
    "SparseLinear": """
layer, x = nn.SparseLinear(1000, 400, density=0.3), torch.randn(200, 1000)
run = lambda: gradients(layer, x)
""",
    "rewiring": """
def run():
    torch.manual_seed(0)
    layer = nn.SparseLinear(1000, 1000, density=0.3)
    SET(layer, torch.optim.SGD(layer.parameters(), lr=0.1), every=1).step()
    return layer.state_dict().values()
""",
    "analysis": """
graph = scipy.sparse.random_array((2000, 2000), density=0.02, rng=0)
run = lambda: [torch.tensor([*analysis.triad_census(graph).values()])]
""",
}


@pytest.mark.parametrize("case", BODIES)
def test_a_forked_process_computes_what_its_parent_does(case):
    done = run_script(SCRIPT.format(body=BODIES[case]))
    assert done.returncode == 0, done.stderr[-2000:]
