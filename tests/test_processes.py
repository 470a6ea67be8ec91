"""Processes of their own: forked, with little memory, and out of it inside a parallel region."""

import pytest
from fresh_process import run_script

START = """
import os, resource, signal
import scipy.sparse
import torch
from sparse_engine import analysis, nn, ops
from sparse_engine.analysis.null_model import ErdosRenyiNull
from sparse_engine.nn import SparseWeight
from sparse_engine.topology import SET
from testing import random_pattern

UNITS = 100_000
torch.set_num_threads(2)


def leave(megabytes):
    "Of address space, beyond what is taken."
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + megabytes * 2**20,) * 2)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def outputs(module, x):
    result = module(x)
    return result[0] if isinstance(result, tuple) else result


def graph(nodes, links):
    return scipy.sparse.random_array((nodes, nodes), density=links / nodes**2, format="csr", rng=0)


"""


def run(text, *, cwd):
    done = run_script(START + text, cwd=cwd)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def here(request):
    return request.path.parent


# The alarm ends a child that waits for a thread which does not exist. Everything is so large that
# the kernels, and torch around them, use two threads in the parent.
FORK = """
expected = run()
child = os.fork()
if child == 0:
    signal.alarm(60)
    found = run()
    os._exit(not all(torch.equal(a, b) for a, b in zip(expected, found, strict=True)))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert code != -signal.SIGALRM, "the forked process waits for ever"
assert code == 0, f"the forked process ended with {code}"
assert torch.get_num_threads() == 2
"""

GRADIENTS = """
def run():
    module.zero_grad()
    result = outputs(module, x)
    result.square().mean().backward()
    return [result.detach(), *(p.grad for p in module.parameters())]
"""

FORKED = {
    "network": f"module, x = nn.SparseLSTM(8, 400, density=0.3), torch.randn(4, 64, 8){GRADIENTS}",
    "linear": f"module, x = nn.SparseLinear(1000, 400, density=0.3), torch.randn(200, 1000)"
    f"{GRADIENTS}",
    "rewiring": """
def run():
    torch.manual_seed(0)
    layer = nn.SparseLinear(1000, 1000, density=0.3)
    SET(layer, torch.optim.SGD(layer.parameters(), lr=0.1), every=1).step()
    return layer.state_dict().values()
""",
    "analysis": """
w = graph(2000, 80_000)
run = lambda: [torch.tensor([*analysis.triad_census(w).values()])]
""",
}


@pytest.mark.parametrize("case", FORKED)
def test_a_forked_process_computes_what_its_parent_does(case, here):
    """Though the threads of its parent did not follow it there."""
    run(FORKED[case] + FORK, cwd=here)


TRAINING = """
def train(model, *shape):
    optimizer = torch.optim.Adam(model.parameters())
    rule = SET(model, optimizer, every=1)
    for _ in range(2):
        optimizer.zero_grad()
        outputs(model, torch.randn(shape)).square().mean().backward()
        optimizer.step()
        rule.step()
    model.load_state_dict(model.state_dict())
    return [weight.nnz for weight in rule.weights]


for kind in (nn.SparseRNN, nn.SparseLSTM, nn.SparseGRU):  # so that the code is in memory
    train(kind(4, 100, density=0.5), 3, 2, 4)
leave(2048)
before = peak()
"""

MILLION_LINKS = {
    "linear": "assert train(nn.SparseLinear(UNITS, UNITS, density=1e-4), 2, UNITS) == [10**6]",
    "rnn": "assert train(nn.SparseRNN(4, UNITS, density=1e-4), 3, 2, 4) == [10**6]",
    "lstm": "assert train(nn.SparseLSTM(4, UNITS, density=2.5e-5), 3, 2, 4) == [10**6]",
    "gru": "assert train(nn.SparseGRU(4, UNITS, density=1e-4 / 3), 3, 2, 4) == [10**6]",
    "conversion": """
weight = SparseWeight.erdos_renyi(UNITS, UNITS, density=1e-4)
rows, cols, values = weight.rows(), weight.col_indices, weight.values.detach()
weight = SparseWeight.from_coo(rows, cols, values, (UNITS, UNITS))
assert weight.to_torch_csr().values().numel() == weight.fan_in().sum() == 10**6
repr(weight)
""",
}


@pytest.mark.parametrize("kind", MILLION_LINKS)
def test_nothing_takes_memory_of_a_dense_matrix(kind, here):
    """Not even address space: 100,000 x 100,000 are 40 GB as float32, and 10 GB as a mask."""
    body = f"{TRAINING}{MILLION_LINKS[kind]}\nprint(peak() - before)"
    # Ten vectors of a million links are 40 to 80 MB; the rest is the library's working memory.
    assert int(run(body, cwd=here)) < 250


def test_the_limit_would_notice_a_dense_matrix(here):
    with pytest.raises(AssertionError, match="can't allocate memory"):
        run(f"{TRAINING}torch.empty(UNITS, UNITS, dtype=torch.bool)", cwd=here)


# What to run, and how much memory is left for it: less than the threads want, but more than is
# taken before there are threads.
EXHAUSTED = {
    "scan": (
        """
run = ops.topology.scan_absent
small = torch.randn(400, 400), random_pattern(400, 400, 400).links
large = torch.randn(4000, 4000), random_pattern(4000, 4000, 4000).links
""",
        150,
    ),
    "link prediction": (
        """
run = ops.topology.ch3_l3
small = random_pattern(400, 400, 4000).links, 10
large = random_pattern(4000, 4000, 60_000).links, 20_000_000
""",
        100,
    ),
    "null models": (
        """
run = lambda w: ErdosRenyiNull().count(w, seed=0, samples=range(2))
small, large = (graph(1000, 5000),), (graph(400_000, 2_000_000),)
""",
        100,  # less than one thread wants: others may be busy
    ),
}


@pytest.mark.parametrize("case", EXHAUSTED)
def test_out_of_memory_in_a_parallel_region_is_an_error(case, here):
    body, megabytes = EXHAUSTED[case]
    end = f"""
run(*small)
leave({megabytes})
try:
    run(*large)
except MemoryError:
    print("out of memory")
"""
    assert run(body + end, cwd=here) == "out of memory\n"
