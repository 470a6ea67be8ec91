"""Memory that runs out inside a parallel region is an error, not the end of the process."""

import pytest
from fresh_process import run_script

SCRIPT = """
import resource
from pathlib import Path
import scipy.sparse
import torch
from sparse_engine import ops
from sparse_engine.analysis.null_model import ErdosRenyiNull
from testing import random_pattern

torch.set_num_threads(2)


def graph(nodes, links):
    return scipy.sparse.random_array((nodes, nodes), density=links / nodes**2, format="csr", rng=0)


{body}
run(*small)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + {megabytes} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    run(*large)
except MemoryError:
    print("out of memory")
"""

# What to run, and how much memory is left for it: less than the threads want, but more than is
# taken before there are threads.
CASES = {
    "scan": (
        """
run = ops.scan_absent
small = torch.randn(400, 400), random_pattern(400, 400, 400).links
large = torch.randn(4000, 4000), random_pattern(4000, 4000, 4000).links
""",
        150,
    ),
    "link prediction": (
        """
run = ops.ch3_l3
small = random_pattern(400, 400, 4000).links, 10
large = random_pattern(4000, 4000, 60_000).links, 20_000_000
""",
        100,
    ),
    "null models": (
        """
run = lambda w: ErdosRenyiNull().count(w, seed=0, samples=range(2))
small = graph(1000, 5000),
large = graph(400_000, 2_000_000),
""",
        100,  # less than one thread wants: others may be busy
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_out_of_memory_in_a_parallel_region(case):
    body, megabytes = CASES[case]
    done = run_script(SCRIPT.format(body=body, megabytes=megabytes))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "out of memory\n"
