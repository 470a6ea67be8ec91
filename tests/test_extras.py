"""Serving needs torch and numpy alone; what needs another library names the extra that has it."""

import json
import subprocess
import sys

import pytest

OPTIONAL = ["networkx", "scipy", "tyro", "tqdm", "matplotlib", "safetensors", "pooch"]

# Reports the error of each statement, where the libraries named first cannot be imported.
SCRIPT = """
import json
import sys

class Blocked:
    names = set(json.loads(sys.argv[1]))
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

import torch, torch._dynamo  # torch brings networkx for itself
sys.meta_path.insert(0, Blocked())
for name in [each for each in sys.modules if each.partition(".")[0] in Blocked.names]:
    del sys.modules[name]

errors = []
for statement in json.loads(sys.argv[2]):
    try:
        exec(statement, {"torch": torch})
        errors.append(None)
    except ImportError as error:
        errors.append(str(error))
    except Exception as error:
        errors.append(repr(error))
print(json.dumps(errors))
"""

SERVING = """
from sparse_engine import nn, topology
model = nn.SparseLSTM(4, 8, density=0.5)
rewiring = topology.SET(model, torch.optim.Adam(model.parameters()), fraction=0.3, every=1)
y, (h, c) = model(torch.randn(5, 2, 4))
y.sum().backward()
rewiring.step()
assert model.weight_hh_l0.topology_version == 1
state = model.state_dict()
nn.SparseLSTM(4, 8, density=0.5).load_state_dict(state)
"""


def errors(statements, blocked):
    command = [sys.executable, "-c", SCRIPT, json.dumps(blocked), json.dumps(statements)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(zip(statements, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def without():
    """The errors of all statements of these tests, in one process, which takes two seconds."""
    return errors([*WORKS, *(statement for statement, _, _ in NEEDS)], OPTIONAL)


WORKS = [
    "import sparse_engine",
    *(
        f"import sparse_engine.{name}"
        for name in ("nn", "ops", "topology", "optim", "convert", "models", "callbacks", "runtime")
    ),
    "from sparse_engine.models import *",
    "from sparse_engine.convert import from_networkx, from_scipy, read_npz, from_torch",
    SERVING,
]

WEIGHT = "from sparse_engine.nn import SparseWeight as W; w = W.from_dense(torch.ones(3, 3))\n"
NEEDS = [
    ("import sparse_engine.analysis", "networkx", "analysis"),
    ("import sparse_engine; sparse_engine.analysis", "networkx", "analysis"),
    ("from sparse_engine.analysis import triad_census", "networkx", "analysis"),
    (f"{WEIGHT}from sparse_engine import convert; convert.to_scipy(w)", "scipy", "analysis"),
    (f"{WEIGHT}from sparse_engine import convert; convert.to_networkx(w)", "networkx", "analysis"),
    ("from sparse_engine import convert; convert.from_scipy(1)", "scipy", "analysis"),
    ("from sparse_engine import convert; convert.read_npz('no file')", "scipy", "analysis"),
    (
        "from sparse_engine import ops, topology; at = [[0.0]] * 3; "
        "wiring = topology.ExponentialDistance(at, at, scale=1.0, density=0.5); "
        "wiring.links(3, 3, ops.RandomKey(0, 0, 0))",
        "scipy",
        "analysis",
    ),
    (
        "from sparse_engine.models import RecurrentNetwork as R; "
        "R(wiring='balanced').recurrent(1, generator=torch.Generator())",
        "networkx",
        "analysis",
    ),
    ("import sparse_engine.lab.train", "safetensors", "train"),
    ("import sparse_engine.lab.tasks", "scipy", "train"),
    ("import sparse_engine.lab.cli", "tyro", "train"),
    ("import sparse_engine.lab.plot", "matplotlib", "plot"),
]


@pytest.mark.parametrize("statement", WORKS)
def test_serving_needs_no_other_library(without, statement):
    assert without[statement] is None


@pytest.mark.parametrize(("statement", "library", "extra"), NEEDS)
def test_what_needs_a_library_names_its_extra(without, statement, library, extra):
    assert without[statement] == (
        f"expected the library {library}, found none; install it with: "
        f"pip install 'sparse_engine[{extra}]'"
    )


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ("analysis", ["analysis"]),
        ("plot", ["lab.plot"]),
        ("train", ["analysis", "lab.train", "lab.tasks", "lab.cli"]),
    ],
)
def test_an_extra_is_enough(extra, names):
    """With the libraries of one extra alone, its packages can be imported."""
    libraries = {
        "analysis": {"networkx", "scipy", "tqdm"},
        "train": {"networkx", "scipy", "tqdm", "tyro", "safetensors", "pooch"},
        "plot": {"matplotlib"},
    }
    found = errors(
        [f"import sparse_engine.{name}" for name in names],
        [name for name in OPTIONAL if name not in libraries[extra]],
    )
    assert set(found.values()) == {None}
